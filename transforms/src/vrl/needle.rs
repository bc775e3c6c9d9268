//! Needles: text that a record must hold if a condition is to let it through.
//!
//! A condition such as `.appname == "sshd" && contains(string!(.message), "Failed")` can only hold
//! of a message with `Failed` in it. Where a message is a piece of the wire's bytes as they are,
//! whoever looks for that text in a whole block first need not decode the records without it.
//!
//! A needle must be sound: a record without it would have been discarded by the condition, and
//! nothing else would have come of running it. So only conditions are taken of which every part is
//! known to have no effect and no error: comparisons of fields and literals, joined by `&&`. The
//! text is ASCII, because other characters may be written in more than one way.

use azud_plan::component::Needle;
use vrl::parser::ast::{
    Container, Expr, FunctionCall, Group, Literal, Node, Op, Opcode, QueryTarget, RootExpr,
};
use vrl::path::{OwnedSegment, PathPrefix};

/// Finds the longest needle of a condition.
pub fn needle(condition: &str) -> Option<Needle> {
    let program = vrl::parser::parse(condition).ok()?;
    let [root] = program.0.as_slice() else { return None };
    let RootExpr::Expr(expression) = &**root else { return None };
    let mut needles = Vec::new();
    gather(expression, &mut needles).then_some(())?;
    needles.into_iter().max_by_key(|needle: &Needle| needle.text.len())
}

/// Adds the needles of one part of a conjunction; says whether the part is harmless.
fn gather(expression: &Expr, needles: &mut Vec<Needle>) -> bool {
    match expression {
        Expr::Op(op) => {
            let Op(left, opcode, right) = &**op;
            match **opcode {
                Opcode::And => gather(left, needles) && gather(right, needles),
                Opcode::Eq | Opcode::Ne => is_operand(left) && is_operand(right),
                _ => false,
            }
        }
        Expr::Container(container) => match &**container {
            Container::Group(group) => {
                let Group(inner) = &***group;
                gather(inner, needles)
            }
            _ => false,
        },
        Expr::FunctionCall(call) => match contains(call) {
            Some(needle) => {
                needles.push(needle);
                true
            }
            None => false,
        },
        _ => false,
    }
}

/// Whether an expression is a field or a literal: reading it has no effect and cannot fail.
fn is_operand(expression: &Expr) -> bool {
    match expression {
        Expr::Literal(literal) => {
            !matches!(&**literal, Literal::String(text) if text.as_literal_string().is_none())
        }
        Expr::Query(_) => field(expression).is_some(),
        _ => false,
    }
}

/// Reads `contains(string!(.field), "text")`.
///
/// The field is then one that its decoder always writes as a string, so `string!` cannot fail.
fn contains(call: &Node<FunctionCall>) -> Option<Needle> {
    let [haystack, text] = arguments(call, "contains")?.try_into().ok()?;
    let field = match haystack {
        Expr::FunctionCall(inner) => {
            let [inner] = arguments(inner, "string")?.try_into().ok()?;
            field(inner)?
        }
        _ => return None,
    };
    let Expr::Literal(text) = text else { return None };
    let text = match &**text {
        Literal::String(text) => text.as_literal_string()?.to_owned(),
        Literal::RawString(text) => text.clone(),
        _ => return None,
    };
    (!text.is_empty() && text.is_ascii()).then_some(Needle { field, text })
}

/// Gives the arguments of a call of this function, if none is named.
fn arguments<'a>(call: &'a Node<FunctionCall>, name: &str) -> Option<Vec<&'a Expr>> {
    let called: &str = (*call.ident).as_ref();
    if called != name || call.closure.is_some() {
        return None;
    }
    let unnamed =
        call.arguments.iter().map(|argument| argument.ident.is_none().then_some(&*argument.expr));
    unnamed.collect()
}

/// Gives the name of a field at the top of the event.
fn field(expression: &Expr) -> Option<String> {
    let Expr::Query(query) = expression else { return None };
    let QueryTarget::External(PathPrefix::Event) = &*query.target else { return None };
    match query.path.segments.as_slice() {
        [OwnedSegment::Field(name)] => Some(name.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(condition: &str) -> Option<String> {
        needle(condition).map(|needle| format!("{}: {}", needle.field, needle.text))
    }

    #[test]
    fn a_conjunction_of_harmless_parts_has_one() {
        let found = text(r#".appname == "sshd" && contains(string!(.message), "Failed")"#);
        assert_eq!(found.as_deref(), Some("message: Failed"));
        let longest =
            text(r#"(contains(string!(.message), "ab") && contains(string!(.message), s'abc'))"#);
        assert_eq!(longest.as_deref(), Some("message: abc"));
    }

    #[test]
    fn whatever_could_hold_without_it_or_fail_has_none() {
        for condition in [
            r#"!contains(string!(.message), "a")"#,
            r#"contains(string!(.message), "a") || .b == 1"#,
            r#"contains(string!(.message), "a", case_sensitive: false)"#,
            r#"contains(string!(.message), "a") && to_int!(.n) == 1"#,
            r#"contains(string!(.message), "a{{ b }}")"#,
            r#"contains(upcase!(.message), "A")"#,
            r#"contains(string!(.message), "é")"#,
            r#"contains(string!(.message), "")"#,
            r#".b = 1; contains(string!(.message), "a")"#,
            r#"if .a == 1 { contains(string!(.message), "a") } else { true }"#,
        ] {
            assert_eq!(text(condition), None, "{condition}");
        }
    }
}
