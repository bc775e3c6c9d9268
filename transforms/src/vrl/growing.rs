//! Conditions that can only become truer while records are added to a window.
//!
//! `.failures >= 20 && .hosts > 2` over a count and a number of different values is one: neither
//! field ever falls, so once it holds it holds for good, and whoever waits for it need not wait for
//! the window's end. Known are comparisons of such a field with a number, where the field stands on
//! the greater side, joined by `&&` and `||`; and, because the greatest value may be no number at
//! all, `(.peak >= 5) ?? false`.

use azud_plan::component::{Demand, Threshold};
use vrl::parser::ast::{Container, Expr, Group, Literal, Op, Opcode, QueryTarget, RootExpr};
use vrl::path::{OwnedValuePath, PathPrefix};
use vrl::value::Value;

/// Gives what a condition waits for, if it can only become truer while the fields of `grows` grow.
pub fn demand(condition: &str, grows: &[OwnedValuePath]) -> Option<Demand> {
    let demand = of(&parsed(condition)?)?;
    known(&demand, grows).then_some(demand)
}

/// Whether a condition lets a record through only if the number in this field is not negative: if
/// one of the parts that it joins by `&&` compares the field so.
pub fn refuses_negative(condition: &str, field: &OwnedValuePath) -> bool {
    let all = |demand: &Demand| match demand {
        Demand::Reaches(Threshold { field: other, number, .. }) => {
            other == field && !is_negative(number)
        }
        Demand::All(_) | Demand::Any(_) => false,
    };
    parsed(condition).is_some_and(|expression| conjuncts(&expression).iter().any(all))
}

fn parsed(condition: &str) -> Option<Expr> {
    let program = vrl::parser::parse(condition).ok()?;
    let [root] = program.0.as_slice() else { return None };
    match &**root {
        RootExpr::Expr(expression) => Some((**expression).clone()),
        RootExpr::Error(_) => None,
    }
}

fn known(demand: &Demand, grows: &[OwnedValuePath]) -> bool {
    match demand {
        Demand::Reaches(threshold) => grows.contains(&threshold.field),
        Demand::All(demands) | Demand::Any(demands) => {
            demands.iter().all(|demand| known(demand, grows))
        }
    }
}

fn of(expression: &Expr) -> Option<Demand> {
    if let Some(inner) = grouped(expression) {
        return of(inner);
    }
    let Expr::Op(op) = expression else { return None };
    let Op(left, opcode, right) = &**op;
    match **opcode {
        Opcode::And => Some(Demand::All(vec![of(left)?, of(right)?])),
        Opcode::Or => Some(Demand::Any(vec![of(left)?, of(right)?])),
        Opcode::Err => is_false(right).then(|| of(left)).flatten(),
        Opcode::Ge => threshold(field(left)?, number(right)?, false),
        Opcode::Gt => threshold(field(left)?, number(right)?, true),
        Opcode::Le => threshold(field(right)?, number(left)?, false),
        Opcode::Lt => threshold(field(right)?, number(left)?, true),
        _ => None,
    }
}

fn threshold(field: OwnedValuePath, number: Value, above: bool) -> Option<Demand> {
    Some(Demand::Reaches(Threshold { field, number, above }))
}

/// Lists what is known of the parts that are joined by `&&`, the field converted or not.
fn conjuncts(expression: &Expr) -> Vec<Demand> {
    if let Some(inner) = grouped(expression) {
        return conjuncts(inner);
    }
    let Expr::Op(op) = expression else { return Vec::new() };
    let Op(left, opcode, right) = &**op;
    let compared = |greater: &Expr, less: &Expr, above| {
        let found = field(converted(greater)).zip(number(less));
        found.and_then(|(field, number)| threshold(field, number, above)).into_iter().collect()
    };
    match **opcode {
        Opcode::And => [conjuncts(left), conjuncts(right)].concat(),
        Opcode::Err if is_false(right) => conjuncts(left),
        Opcode::Ge => compared(left, right, false),
        Opcode::Gt => compared(left, right, true),
        Opcode::Le => compared(right, left, false),
        Opcode::Lt => compared(right, left, true),
        _ => Vec::new(),
    }
}

/// Looks through a conversion that leaves the sign of numbers as it is: `int!(.n)`. (`to_int` makes
/// -0.5 zero.)
fn converted(expression: &Expr) -> &Expr {
    let Expr::FunctionCall(call) = expression else { return expression };
    let name: &str = (*call.ident).as_ref();
    match (name, call.arguments.as_slice()) {
        ("int" | "float" | "to_float", [argument]) if argument.ident.is_none() => &argument.expr,
        _ => expression,
    }
}

fn grouped(expression: &Expr) -> Option<&Expr> {
    let Expr::Container(container) = expression else { return None };
    let Container::Group(group) = &**container else { return None };
    let Group(inner) = &***group;
    Some(inner)
}

fn is_false(expression: &Expr) -> bool {
    let Expr::Literal(literal) = expression else { return false };
    matches!(**literal, Literal::Boolean(false))
}

fn field(expression: &Expr) -> Option<OwnedValuePath> {
    let Expr::Query(query) = expression else { return None };
    match &*query.target {
        QueryTarget::External(PathPrefix::Event) => Some((*query.path).clone()),
        _ => None,
    }
}

fn number(expression: &Expr) -> Option<Value> {
    let Expr::Literal(literal) = expression else { return None };
    match &**literal {
        Literal::Integer(number) => Some(Value::Integer(*number)),
        Literal::Float(number) => Some(Value::Float(*number)),
        _ => None,
    }
}

fn is_negative(number: &Value) -> bool {
    match number {
        Value::Integer(number) => *number < 0,
        Value::Float(number) => **number < 0.0,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vrl::owned_value_path;

    fn shown(demand: &Demand) -> String {
        let joined = |demands: &[Demand], word: &str| {
            let shown: Vec<String> = demands.iter().map(shown).collect();
            format!("({})", shown.join(word))
        };
        match demand {
            Demand::Reaches(Threshold { field, number, above }) => {
                format!("{field} {} {number}", if *above { ">" } else { ">=" })
            }
            Demand::All(demands) => joined(demands, " and "),
            Demand::Any(demands) => joined(demands, " or "),
        }
    }

    fn known_of(condition: &str) -> Option<String> {
        let grows = [owned_value_path!("n"), owned_value_path!("user", "count")];
        demand(condition, &grows).map(|demand| shown(&demand))
    }

    #[test]
    fn comparisons_with_numbers_are_known() {
        for (condition, expected) in [
            (".n >= 20", "n >= 20"),
            ("20 < .n", "n > 20"),
            ("2.5 <= .n", "n >= 2.5"),
            (".n > 2 && (.user.count >= 3 || .n >= 9)", "(n > 2 and (user.count >= 3 or n >= 9))"),
            ("(.n >= 5) ?? false", "n >= 5"),
            (".n >= 5 ?? false", "n >= 5"),
        ] {
            assert_eq!(known_of(condition).as_deref(), Some(expected), "{condition}");
        }
    }

    #[test]
    fn whatever_may_become_false_again_is_not() {
        for condition in [
            ".n < 20",
            ".n == 20",
            "20 >= .n",
            ".other >= 20",
            ".n >= 20 && .other >= 1",
            "!(.n >= 20)",
            ".n >= .user.count",
            ".n - 1 >= 20",
            "(.n >= 5) ?? true",
            "x = 1; .n >= 20",
            "if .n > 1 { true } else { false }",
            "%n >= 20",
            ".n >= \"20\"",
        ] {
            assert_eq!(known_of(condition), None, "{condition}");
        }
    }

    #[test]
    fn a_condition_may_keep_negative_numbers_out() {
        let field = owned_value_path!("bytes");
        for (condition, expected) in [
            ("int!(.bytes) > 0", true),
            (".dir == \"out\" && (.bytes >= 0 ?? false)", true),
            ("0 <= to_float!(.bytes) && .a == 1", true),
            ("to_int!(.bytes) >= 0", false),
            ("int!(.bytes) > -5", false),
            ("int!(.other) > 0", false),
            ("int!(.bytes) > 0 || .a == 1", false),
            ("int!(.bytes) < 0", false),
            ("abs!(.bytes) > 0", false),
        ] {
            assert_eq!(refuses_negative(condition, &field), expected, "{condition}");
        }
    }
}
