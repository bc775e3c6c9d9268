//! Lowering: the tree of a program that VRL has compiled becomes a [`Native`] program.
//!
//! Only when every construct is one that native programs know, and the whole is not larger than
//! [`EXPRESSIONS_LOWERED_MAX`]; of any other program the answer is `None`, and VRL walks its own
//! tree. Nothing here decides what a program means: what VRL refused is never lowered, and what it
//! rewrites while compiling (texts with `{{ }}`) is rewritten by its own function.

use super::native::{
    Assign, Binary, Call, Expression, Fault, Function, If, Native, Pattern, Slow, Target,
};
use azud_event::record::Path;
use std::collections::{BTreeMap, HashMap};
use vrl::diagnostic::Span;
use vrl::parser::ast::{
    self, AssignmentOp, AssignmentTarget, Container, Expr, FunctionCall, Literal, Node, Opcode,
    Predicate, QueryTarget, RootExpr, Unary,
};
use vrl::path::{OwnedTargetPath, OwnedValuePath, PathPrefix};
use vrl::value::{KeyString, Value};

/// How many expressions a program may have to be lowered. Since nothing in it loops, this also
/// bounds what a run evaluates, far below [`super::run::EXPRESSIONS_MAX`]; programs that people
/// write have some hundred.
pub(super) const EXPRESSIONS_LOWERED_MAX: usize = 10_000;

/// Functions of one argument that are left to VRL, so that a program that calls them can still be
/// lowered. Each is a function of its argument's value alone: it neither asks for a path nor takes
/// a literal or a closure.
pub(super) const OTHERS: &[&str] = &[
    "array",
    "bool",
    "encode_json",
    "float",
    "int",
    "ip_aton",
    "is_array",
    "is_boolean",
    "is_float",
    "is_integer",
    "is_nullish",
    "is_object",
    "is_timestamp",
    "length",
    "object",
    "parse_json",
    "parse_query_string",
    "parse_url",
    "strip_whitespace",
    "timestamp",
    "to_bool",
    "to_float",
];

/// What a lowered program may do to the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effects {
    /// Change it: a remap.
    Change,
    /// Look at it: a condition.
    None,
}

/// Lowers a program that VRL has compiled of `text`; `None` when it has a construct that native
/// programs do not know.
pub(super) fn lower(text: &str, effects: Effects) -> Option<Native> {
    let program = vrl::parser::parse(text).ok()?;
    let mut lowering = Lowering {
        effects,
        locals: HashMap::new(),
        patterns: Vec::new(),
        paths: Vec::new(),
        left: EXPRESSIONS_LOWERED_MAX,
    };
    let body: Option<Vec<_>> = program
        .into_iter()
        .map(|root| match root.into_inner() {
            RootExpr::Expr(expression) => lowering.expression(expression),
            RootExpr::Error(_) => None,
        })
        .collect();
    let body = body.filter(|body| !body.is_empty())?;
    let Lowering { locals, patterns, paths, .. } = lowering;
    Some(Native { body, patterns, locals: locals.len(), paths })
}

struct Lowering {
    effects: Effects,
    /// The number of each variable. By name only: VRL's own variables have no scopes at run time.
    locals: HashMap<String, usize>,
    patterns: Vec<Pattern>,
    /// Every path of the event or its metadata that stands in the program.
    paths: Vec<OwnedTargetPath>,
    left: usize,
}

impl Lowering {
    fn expression(&mut self, node: Node<Expr>) -> Option<Expression> {
        self.left = self.left.checked_sub(1)?;
        let span = node.span();
        match node.into_inner() {
            Expr::Literal(literal) => self.literal(span, literal.into_inner()),
            Expr::Container(container) => self.container(container.into_inner()),
            Expr::IfStatement(branch) => self.branch(branch.into_inner()),
            Expr::Op(operation) => self.operation(operation.into_inner()),
            Expr::Assignment(assignment) => self.assignment(assignment.into_inner()),
            Expr::Query(query) => self.query(query.into_inner()),
            Expr::FunctionCall(call) => self.call(call.span(), call.into_inner()),
            Expr::Variable(name) => Some(Expression::Local(self.local(&name.into_inner())?)),
            Expr::Unary(unary) => match unary.into_inner() {
                Unary::Not(not) => {
                    let (_, inner) = not.into_inner().take();
                    Some(Expression::Not(Box::new(self.expression(*inner)?)))
                }
            },
            Expr::Abort(abort) => {
                let message = match abort.into_inner().message {
                    Some(message) => Some(Box::new(self.expression(*message)?)),
                    None => None,
                };
                Some(Expression::Abort(message))
            }
            Expr::Return(_) | Expr::Break(_) => None,
        }
    }

    fn block(&mut self, nodes: impl IntoIterator<Item = Node<Expr>>) -> Option<Vec<Expression>> {
        let block: Option<Vec<_>> = nodes.into_iter().map(|node| self.expression(node)).collect();
        block.filter(|block| !block.is_empty())
    }

    fn literal(&mut self, span: Span, literal: Literal) -> Option<Expression> {
        let value = match literal {
            Literal::String(template) => match template.as_literal_string() {
                Some(text) => Value::from(text),
                None => {
                    let written = template.rewrite_to_concatenated_strings();
                    return self.expression(Node::new(span, written));
                }
            },
            Literal::RawString(text) => Value::from(text),
            Literal::Integer(number) => Value::Integer(number),
            Literal::Float(number) => Value::Float(number),
            Literal::Boolean(truth) => Value::Boolean(truth),
            Literal::Timestamp(time) => Value::Timestamp(time.parse().ok()?),
            Literal::Null => Value::Null,
            Literal::Regex(_) => return None,
        };
        Some(Expression::Literal(value))
    }

    fn container(&mut self, container: Container) -> Option<Expression> {
        match container {
            Container::Group(group) => self.expression((*group).into_inner().into_inner()),
            Container::Block(block) => Some(Expression::Block(self.block(block.into_inner())?)),
            Container::Array(array) => {
                let elements = array.into_inner().into_iter();
                let elements: Option<_> = elements.map(|node| self.expression(node)).collect();
                Some(folded(Expression::Array(elements?)))
            }
            Container::Object(object) => {
                let mut members: BTreeMap<KeyString, Expression> = BTreeMap::new();
                for (name, node) in object.into_inner() {
                    members.insert(name.into_inner().into(), self.expression(node)?);
                }
                Some(folded(Expression::Object(members.into_iter().collect())))
            }
        }
    }

    fn branch(&mut self, branch: ast::IfStatement) -> Option<Expression> {
        let predicate = match branch.predicate.into_inner() {
            Predicate::One(node) => self.block([*node])?,
            Predicate::Many(nodes) => self.block(nodes)?,
        };
        let then = self.block(branch.if_node.into_inner())?;
        let otherwise = match branch.else_node {
            Some(block) => Some(self.block(block.into_inner())?),
            None => None,
        };
        Some(Expression::If(Box::new(If { predicate, then, otherwise })))
    }

    fn operation(&mut self, operation: ast::Op) -> Option<Expression> {
        let ast::Op(left, operator, right) = operation;
        let operator: Opcode = operator.into_inner();
        let (left, right) = (self.expression(*left)?, self.expression(*right)?);
        Some(Expression::Binary(Box::new(Binary { operator, left, right })))
    }

    fn assignment(&mut self, assignment: ast::Assignment) -> Option<Expression> {
        let assign = match assignment {
            ast::Assignment::Single { target, op: AssignmentOp::Assign, expr } => {
                let value = self.expression(*expr)?;
                Assign { target: self.target(target.into_inner())?, fault: None, value }
            }
            ast::Assignment::Infallible { ok, err, op: AssignmentOp::Assign, expr } => {
                let value = self.expression(*expr)?;
                // What the first target holds after an error follows from the type; of calls it is
                // plain.
                let Expression::Call(call) = &value else { return None };
                let default = call.function.default()?;
                let target = self.target(ok.into_inner())?;
                let fault = Fault { target: self.target(err.into_inner())?, default };
                Assign { target, fault: Some(fault), value }
            }
            // `|=`
            _ => return None,
        };
        Some(Expression::Assign(Box::new(assign)))
    }

    fn target(&mut self, target: AssignmentTarget) -> Option<Target> {
        match target {
            AssignmentTarget::Noop => Some(Target::Nothing),
            AssignmentTarget::Internal(name, path) => self.variable(&name, path),
            AssignmentTarget::External(path) => {
                self.field(path.unwrap_or_else(OwnedTargetPath::event_root))
            }
            AssignmentTarget::Query(query) => {
                let path = query.path.into_inner();
                match query.target.into_inner() {
                    QueryTarget::Internal(name) => self.variable(&name, Some(path)),
                    QueryTarget::External(prefix) => self.field(OwnedTargetPath { prefix, path }),
                    QueryTarget::FunctionCall(_) | QueryTarget::Container(_) => None,
                }
            }
        }
    }

    fn variable(&mut self, name: &str, path: Option<OwnedValuePath>) -> Option<Target> {
        let local = self.local(name)?;
        Some(match path.filter(|path| !path.is_root()) {
            Some(path) => Target::Member(local, path),
            None => Target::Local(local),
        })
    }

    fn field(&mut self, path: OwnedTargetPath) -> Option<Target> {
        (self.effects == Effects::Change).then(|| Target::Field(self.path(path)))
    }

    /// Makes a path ready, and notes it.
    fn path(&mut self, path: OwnedTargetPath) -> Path {
        self.paths.push(path.clone());
        path.into()
    }

    fn local(&mut self, name: &str) -> Option<usize> {
        let next = self.locals.len();
        Some(*self.locals.entry(name.to_owned()).or_insert(next))
    }

    fn query(&mut self, query: ast::Query) -> Option<Expression> {
        let path = query.path.into_inner();
        let (span, target) = query.target.take();
        Some(match target {
            QueryTarget::External(prefix) => {
                Expression::Field(self.path(OwnedTargetPath { prefix, path }))
            }
            QueryTarget::Internal(name) if path.is_root() => Expression::Local(self.local(&name)?),
            QueryTarget::Internal(name) => Expression::Member(self.local(&name)?, path),
            QueryTarget::FunctionCall(call) => match self.call(span, call)? {
                Expression::Call(call) if matches!(call.function, Function::ParseRegex(_)) => {
                    self.group(call, path)
                }
                call => Expression::Part(Box::new(call), path),
            },
            QueryTarget::Container(container) => {
                Expression::Part(Box::new(self.container(container)?), path)
            }
        })
    }

    /// Gives one member of what `parse_regex` gives: by way of a variable that has no name, so that
    /// no object is made.
    fn group(&mut self, call: Box<Call>, path: OwnedValuePath) -> Expression {
        // No variable of a program has a space in its name.
        let hidden = format!("match {}", self.locals.len());
        let local = self.locals.len();
        self.locals.insert(hidden, local);
        let value = Expression::Call(call);
        let assign = Assign { target: Target::Local(local), fault: None, value };
        Expression::Block(vec![
            Expression::Assign(Box::new(assign)),
            Expression::Member(local, path),
        ])
    }

    fn call(&mut self, span: Span, call: FunctionCall) -> Option<Expression> {
        let mut arguments = Vec::with_capacity(call.arguments.len());
        for argument in call.arguments {
            let argument = argument.into_inner();
            if argument.ident.is_some() {
                return None;
            }
            arguments.push(argument.expr);
        }
        if call.closure.is_some() {
            return None;
        }
        let name: &str = &call.ident;
        match name {
            "del" => return self.delete(arguments),
            "exists" => {
                let [path] = <[_; 1]>::try_from(arguments).ok()?;
                let path = external(path.into_inner())?;
                return Some(Expression::Exists(self.path(path)));
            }
            _ => {}
        }
        let (name, function, argument) = self.function(name, arguments)?;
        let argument = self.expression(argument)?;
        let slow = match function {
            Function::ParseRegex(_) => None,
            Function::Contains(_) | Function::EndsWith(_) | Function::StartsWith(_) => {
                Some(Slow::new(name, 2)?)
            }
            Function::Includes(_) => None,
            _ => Some(Slow::new(name, 1)?),
        };
        let (start, end) = (span.start(), span.end());
        Some(Expression::Call(Box::new(Call { name, start, end, function, argument, slow })))
    }

    fn delete(&mut self, arguments: Vec<Node<Expr>>) -> Option<Expression> {
        let mut arguments = arguments.into_iter();
        let path = external(arguments.next()?.into_inner())?;
        let compact = match arguments.next().map(Node::into_inner) {
            None => false,
            Some(Expr::Literal(literal)) => match literal.into_inner() {
                Literal::Boolean(compact) => compact,
                _ => return None,
            },
            Some(_) => return None,
        };
        (self.effects == Effects::Change).then(|| Expression::Delete(self.path(path), compact))
    }

    /// Gives a function with its literal arguments, and the argument that is to be evaluated.
    fn function(
        &mut self,
        name: &str,
        arguments: Vec<Node<Expr>>,
    ) -> Option<(&'static str, Function, Node<Expr>)> {
        let mut arguments = arguments.into_iter();
        let (first, second) = (arguments.next()?, arguments.next());
        if arguments.next().is_some() {
            return None;
        }
        let Some(second) = second else {
            let (name, function) = match name {
                "downcase" => ("downcase", Function::Downcase),
                "is_null" => ("is_null", Function::IsNull),
                "is_string" => ("is_string", Function::IsString),
                "string" => ("string", Function::String),
                "to_int" => ("to_int", Function::ToInt),
                "to_string" => ("to_string", Function::ToString),
                "upcase" => ("upcase", Function::Upcase),
                _ => (*OTHERS.iter().find(|other| **other == name)?, Function::Other),
            };
            return Some((name, function, first));
        };
        Some(match name {
            "contains" => ("contains", Function::Contains(text_of(second)?), first),
            "ends_with" => ("ends_with", Function::EndsWith(text_of(second)?), first),
            "starts_with" => ("starts_with", Function::StartsWith(text_of(second)?), first),
            "includes" => ("includes", Function::Includes(self.list(first)?), second),
            "parse_regex" => {
                let Expr::Literal(literal) = second.into_inner() else { return None };
                let Literal::Regex(regex) = literal.into_inner() else { return None };
                self.patterns.push(Pattern::new(&regex)?);
                ("parse_regex", Function::ParseRegex(self.patterns.len() - 1), first)
            }
            _ => return None,
        })
    }

    /// Gives the values of an array of literals.
    fn list(&mut self, node: Node<Expr>) -> Option<Vec<Value>> {
        match self.expression(node)? {
            Expression::Literal(Value::Array(values)) => Some(values),
            _ => None,
        }
    }
}

/// Makes one literal of an array or object of literals.
fn folded(container: Expression) -> Expression {
    let literal = |expression: &Expression| match expression {
        Expression::Literal(value) => Some(value.clone()),
        _ => None,
    };
    let value = match &container {
        Expression::Array(elements) => {
            elements.iter().map(literal).collect::<Option<_>>().map(Value::Array)
        }
        Expression::Object(members) => {
            let members =
                members.iter().map(|(name, member)| Some((name.clone(), literal(member)?)));
            members.collect::<Option<_>>().map(Value::Object)
        }
        _ => None,
    };
    value.map_or(container, Expression::Literal)
}

impl Function {
    /// Gives what `ok` of `ok, err = call(…)` holds after an error: VRL's default of the type that
    /// the function gives.
    fn default(&self) -> Option<Value> {
        Some(match self {
            Function::Downcase | Function::Upcase | Function::String | Function::ToString => {
                Value::from("")
            }
            Function::ToInt => Value::Integer(0),
            Function::Contains(_) | Function::EndsWith(_) | Function::StartsWith(_) => {
                Value::Boolean(false)
            }
            Function::ParseRegex(_) => Value::Object(BTreeMap::new()),
            // These cannot fail, or their type is not plain.
            Function::Includes(_) | Function::IsNull | Function::IsString | Function::Other => {
                return None;
            }
        })
    }
}

/// Gives the path of a field.
fn external(expression: Expr) -> Option<OwnedTargetPath> {
    let Expr::Query(query) = expression else { return None };
    let query = query.into_inner();
    let QueryTarget::External(prefix) = query.target.into_inner() else { return None };
    let prefix: PathPrefix = prefix;
    Some(OwnedTargetPath { prefix, path: query.path.into_inner() })
}

/// Gives the text of a literal string.
fn text_of(node: Node<Expr>) -> Option<String> {
    let Expr::Literal(literal) = node.into_inner() else { return None };
    match literal.into_inner() {
        // `""` has no segment at all.
        Literal::String(text) if text.0.is_empty() => Some(String::new()),
        Literal::String(text) => text.as_literal_string().map(str::to_owned),
        Literal::RawString(text) => Some(text),
        _ => None,
    }
}
