//! Native programs: what most programs are made of, run on the record without making values.
//!
//! VRL's runtime walks a tree of boxed expressions that hand each other values. To compare a field
//! with a word it makes a value of the field, clones it, and drops it; a variable is an entry of a
//! map, and what `parse_regex` found is a map of strings. A native program does the same steps on
//! what is already there: texts are ranges of the block ([`TextRange`]), variables are numbered,
//! and the groups of a regular expression are ranges, too.
//!
//! # What holds
//!
//! - A native program is made only of a program that VRL has compiled ([`super::lower`]): types,
//!   diagnostics and meaning are VRL's.
//! - It is made of the whole program or not at all, and of nothing that loops; so it needs no bound
//!   on what it evaluates but that on its size ([`super::lower::EXPRESSIONS_LOWERED_MAX`]).
//! - It gives what the walk would give: the same record, the same end, the same words of an error.
//!   What is not plain – a text that is no UTF-8, a type that a function does not take, an
//!   arithmetic of other things than integers – is left to VRL's own functions ([`slow`]). The
//!   property tests hold the two against each other.

mod function;
mod matcher;
mod operand;
mod pattern;
mod slow;
#[cfg(test)]
mod tests;

pub(super) use function::{Call, Function};
pub(super) use pattern::Pattern;
pub(super) use slow::Slow;

use azud_event::record::{Path, Record, Taken};
use operand::{Operand, Peek};
use pattern::Match;
use vrl::compiler::runtime::Runtime;
use vrl::compiler::value::{ValueError, VrlValueArithmetic, VrlValueConvert};
use vrl::compiler::{ExpressionError, TimeZone};
use vrl::parser::ast::Opcode;
use vrl::path::{OwnedTargetPath, OwnedValuePath};
use vrl::value::{KeyString, ObjectMap, Value};

/// Why a run ended early. Boxed, for it is large and rare.
pub(super) type Failure = Box<ExpressionError>;

/// A program that was lowered, and what it remembers while it runs. A clone for each worker.
#[derive(Clone, Debug)]
pub(super) struct Native {
    pub(super) body: Vec<Expression>,
    pub(super) patterns: Vec<Pattern>,
    pub(super) locals: usize,
    /// Every path of the event or its metadata that it reads or writes.
    pub(super) paths: Vec<OwnedTargetPath>,
}

/// An expression, as VRL means it.
#[derive(Clone, Debug)]
pub(super) enum Expression {
    Literal(Value),
    /// What is at a path of the event or its metadata.
    Field(Path),
    /// A variable, by number.
    Local(usize),
    /// What is at a path of a variable.
    Member(usize, OwnedValuePath),
    /// What is at a path of what an expression gives.
    Part(Box<Expression>, OwnedValuePath),
    /// `exists(.path)`
    Exists(Path),
    /// `del(.path, compact)`
    Delete(Path, bool),
    Array(Vec<Expression>),
    /// Ordered by name, without repetition, as VRL evaluates them.
    Object(Vec<(KeyString, Expression)>),
    /// Never empty; the last gives the value.
    Block(Vec<Expression>),
    If(Box<If>),
    Not(Box<Expression>),
    Binary(Box<Binary>),
    Assign(Box<Assign>),
    Call(Box<Call>),
    Abort(Option<Box<Expression>>),
}

/// `if predicate { then } else { otherwise }`; the blocks are never empty.
#[derive(Clone, Debug)]
pub(super) struct If {
    pub(super) predicate: Vec<Expression>,
    pub(super) then: Vec<Expression>,
    pub(super) otherwise: Option<Vec<Expression>>,
}

/// `left operator right`
#[derive(Clone, Debug)]
pub(super) struct Binary {
    pub(super) operator: Opcode,
    pub(super) left: Expression,
    pub(super) right: Expression,
}

/// `target = value`, or `target, fault.target = value`.
#[derive(Clone, Debug)]
pub(super) struct Assign {
    pub(super) target: Target,
    pub(super) fault: Option<Fault>,
    pub(super) value: Expression,
}

/// Where an error goes, and what the first target holds then.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) target: Target,
    pub(super) default: Value,
}

/// What an assignment sets.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// `_`
    Nothing,
    Field(Path),
    Local(usize),
    Member(usize, OwnedValuePath),
}

/// What a native program remembers while it runs: kept from run to run for its memory only.
#[derive(Debug, Default)]
pub(super) struct Memory {
    locals: Vec<Local>,
    matches: Vec<Match>,
    runtime: Runtime,
}

/// What a variable holds.
#[derive(Clone, Debug, Default)]
enum Local {
    /// It was not assigned yet in this run, which reads as `null`.
    #[default]
    Unset,
    Operand(Operand),
    /// What the pattern of this number matched in this run.
    Match(usize),
}

/// The record of a run: to be changed by a `remap`, to be looked at by a condition.
pub(super) enum Ground<'a> {
    Write(&'a mut Record),
    Read(&'a Record),
}

impl Ground<'_> {
    #[inline]
    fn record(&self) -> &Record {
        match self {
            Ground::Write(record) => record,
            Ground::Read(record) => record,
        }
    }

    #[inline]
    fn record_mut(&mut self) -> &mut Record {
        match self {
            Ground::Write(record) => record,
            Ground::Read(_) => unreachable!("a condition that changes the record is not lowered"),
        }
    }
}

impl Native {
    /// Lets it end in `null`, for a program whose result nobody wants.
    pub(super) fn without_result(mut self) -> Self {
        self.body.push(Expression::Literal(Value::Null));
        self
    }

    /// Makes the memory that it needs.
    pub(super) fn memory(&self) -> Memory {
        Memory {
            locals: vec![Local::Unset; self.locals],
            matches: self.patterns.iter().map(Pattern::scratch).collect(),
            runtime: Runtime::default(),
        }
    }

    /// Runs it, and gives what its last expression gives.
    ///
    /// # Errors
    /// The error or the `abort` that ended it; what it changed before is for the caller to undo.
    pub(super) fn run(
        &self,
        ground: Ground<'_>,
        memory: &mut Memory,
        zone: &TimeZone,
    ) -> Result<Value, Failure> {
        memory.locals.fill(Local::Unset);
        let mut run = Run { ground, memory, patterns: &self.patterns, zone };
        let operand = run.block(&self.body)?;
        Ok(operand.into_value(run.record()))
    }
}

/// A run of a native program on one record.
struct Run<'a> {
    ground: Ground<'a>,
    memory: &'a mut Memory,
    patterns: &'a [Pattern],
    zone: &'a TimeZone,
}

impl Run<'_> {
    #[inline]
    fn record(&self) -> &Record {
        self.ground.record()
    }

    /// Gives the value of a block: that of its last expression.
    fn block(&mut self, block: &[Expression]) -> Result<Operand, Failure> {
        let (last, others) = block.split_last().expect("a block is never empty");
        for expression in others {
            self.execute(expression)?;
        }
        self.evaluate(last)
    }

    /// Does what an expression does, without its value.
    fn execute(&mut self, expression: &Expression) -> Result<(), Failure> {
        match expression {
            Expression::Block(block) => block.iter().try_for_each(|inner| self.execute(inner)),
            Expression::If(branch) => {
                let block = match self.predicate(&branch.predicate)? {
                    true => Some(&branch.then),
                    false => branch.otherwise.as_ref(),
                };
                let block = block.map_or(&[][..], Vec::as_slice);
                block.iter().try_for_each(|inner| self.execute(inner))
            }
            Expression::Assign(assign) => self.assign(assign),
            Expression::Delete(path, compact) => {
                self.ground.record_mut().take(path, *compact);
                Ok(())
            }
            Expression::Literal(_) => Ok(()),
            _ => self.evaluate(expression).map(drop),
        }
    }

    /// Does what an expression does, and gives its value.
    fn evaluate(&mut self, expression: &Expression) -> Result<Operand, Failure> {
        Ok(match expression {
            Expression::Literal(value) => Operand::Value(value.clone()),
            Expression::Field(path) => Operand::look(self.record(), path),
            Expression::Local(local) => self.local(*local),
            Expression::Member(local, path) => self.member(*local, path),
            Expression::Part(whole, path) => {
                let whole = self.evaluate(whole)?.into_value(self.record());
                Operand::Value(whole.get(path).cloned().unwrap_or(Value::Null))
            }
            Expression::Exists(path) => self.record().has_target(path).into(),
            Expression::Delete(path, compact) => {
                match self.ground.record_mut().take(path, *compact) {
                    Some(Taken::Text(text)) => Operand::Text(text),
                    Some(Taken::Value(value)) => Operand::Value(value),
                    None => Operand::NULL,
                }
            }
            Expression::Array(elements) => Operand::Value(self.array(elements)?),
            Expression::Object(members) => Operand::Value(self.object(members)?),
            Expression::Block(block) => self.block(block)?,
            Expression::If(branch) => {
                if self.predicate(&branch.predicate)? {
                    return self.block(&branch.then);
                }
                match &branch.otherwise {
                    Some(block) => self.block(block)?,
                    None => Operand::NULL,
                }
            }
            Expression::Not(inner) => (!self.boolean(inner)?).into(),
            Expression::Binary(binary) => self.binary(binary)?,
            Expression::Assign(assign) => self.assigned(assign)?,
            Expression::Call(call) => self.call(call)?,
            Expression::Abort(message) => return Err(self.aborted(message.as_deref())),
        })
    }

    fn array(&mut self, elements: &[Expression]) -> Result<Value, Failure> {
        let mut values = Vec::with_capacity(elements.len());
        for element in elements {
            let element = self.evaluate(element)?;
            values.push(element.into_value(self.record()));
        }
        Ok(Value::Array(values))
    }

    fn object(&mut self, members: &[(KeyString, Expression)]) -> Result<Value, Failure> {
        let mut values = ObjectMap::new();
        for (name, member) in members {
            let member = self.evaluate(member)?;
            values.insert(name.clone(), member.into_value(self.record()));
        }
        Ok(Value::Object(values))
    }

    fn aborted(&mut self, message: Option<&Expression>) -> Failure {
        let message = match message.map(|message| self.evaluate(message)) {
            None => None,
            Some(Err(failure)) => return failure,
            Some(Ok(message)) => {
                let message = message.into_value(self.record());
                match message.try_bytes_utf8_lossy() {
                    Ok(message) => Some(message.into_owned()),
                    Err(error) => return failure(error),
                }
            }
        };
        // Where it was written is not told: nobody asks a run that ended for it.
        Box::new(ExpressionError::Abort { span: vrl::diagnostic::Span::default(), message })
    }

    fn predicate(&mut self, block: &[Expression]) -> Result<bool, Failure> {
        match block {
            [only] => self.boolean(only),
            _ => self.block(block)?.try_boolean(self.record()).map_err(failure),
        }
    }

    fn boolean(&mut self, expression: &Expression) -> Result<bool, Failure> {
        if let Expression::Binary(binary) = expression
            && let Opcode::Eq | Opcode::Ne = binary.operator
        {
            return Ok(self.equal(binary)? == (binary.operator == Opcode::Eq));
        }
        self.evaluate(expression)?.try_boolean(self.record()).map_err(failure)
    }

    fn binary(&mut self, binary: &Binary) -> Result<Operand, Failure> {
        let Binary { operator, left, right } = binary;
        match operator {
            Opcode::Err => return self.evaluate(left).or_else(|_| self.evaluate(right)),
            Opcode::Or => {
                return match self.evaluate(left)? {
                    Operand::Value(Value::Null | Value::Boolean(false)) => {
                        self.evaluate(right).map_err(|cause| failure(ValueError::Or(*cause)))
                    }
                    left => Ok(left),
                };
            }
            Opcode::And => {
                let left = self.evaluate(left)?;
                if let Operand::Value(Value::Null | Value::Boolean(false)) = left {
                    return Ok(false.into());
                }
                let left = left.into_value(self.record());
                let right = self.evaluate(right)?.into_value(self.record());
                return left.try_and(right).map(Operand::Value).map_err(failure);
            }
            Opcode::Eq => return Ok(self.equal(binary)?.into()),
            Opcode::Ne => return Ok((!self.equal(binary)?).into()),
            _ => {}
        }
        let left = self.evaluate(left)?.into_value(self.record());
        let right = self.evaluate(right)?.into_value(self.record());
        let value = match operator {
            Opcode::Mul => left.try_mul(right),
            Opcode::Div => left.try_div(right),
            Opcode::Add => left.try_add(right),
            Opcode::Sub => left.try_sub(right),
            Opcode::Gt => left.try_gt(right),
            Opcode::Ge => left.try_ge(right),
            Opcode::Lt => left.try_lt(right),
            Opcode::Le => left.try_le(right),
            Opcode::Merge => left.try_merge(right),
            Opcode::Err | Opcode::Or | Opcode::And | Opcode::Eq | Opcode::Ne => {
                unreachable!("these have been answered")
            }
        };
        value.map(Operand::Value).map_err(failure)
    }

    /// Compares as `==` does: numbers by what they count, everything else by kind and content.
    fn equal(&mut self, binary: &Binary) -> Result<bool, Failure> {
        let Binary { left, right, .. } = binary;
        if let (Some(left), Some(right)) = (self.peek(left), self.peek(right)) {
            return Ok(left.eq_lossy(&right));
        }
        let left = self.evaluate(left)?;
        if let Some(right) = self.peek(right) {
            return Ok(left.peek(self.record()).eq_lossy(&right));
        }
        let right = self.evaluate(right)?;
        Ok(left.peek(self.record()).eq_lossy(&right.peek(self.record())))
    }

    /// Gives the value of an expression that has no effect and cannot fail, without a copy; `None`
    /// of any other.
    #[inline]
    fn peek<'a>(&'a self, expression: &'a Expression) -> Option<Peek<'a>> {
        Some(match expression {
            Expression::Literal(value) => Peek::Value(value),
            Expression::Field(path) => Peek::look(self.record(), path),
            Expression::Local(local) => match &self.memory.locals[*local] {
                Local::Unset => Peek::NULL,
                Local::Operand(operand) => operand.peek(self.record()),
                Local::Match(_) => return None,
            },
            Expression::Member(local, path) => match &self.memory.locals[*local] {
                Local::Operand(Operand::Value(value)) => {
                    value.get(path).map_or(Peek::NULL, Peek::Value)
                }
                Local::Match(number) => {
                    let found = &self.memory.matches[*number];
                    self.patterns[*number].peek(found, path, self.record())
                }
                Local::Unset | Local::Operand(_) => Peek::NULL,
            },
            _ => return None,
        })
    }

    fn local(&self, local: usize) -> Operand {
        match &self.memory.locals[local] {
            Local::Unset => Operand::NULL,
            Local::Operand(operand) => operand.clone(),
            Local::Match(number) => Operand::Value(self.matched(*number)),
        }
    }

    /// Gives all groups of a pattern as the object that VRL makes of them.
    fn matched(&self, number: usize) -> Value {
        self.patterns[number].object(&self.memory.matches[number], self.record())
    }

    fn member(&self, local: usize, path: &OwnedValuePath) -> Operand {
        match &self.memory.locals[local] {
            Local::Operand(Operand::Value(value)) => {
                Operand::Value(value.get(path).cloned().unwrap_or(Value::Null))
            }
            // A text has no members.
            Local::Unset | Local::Operand(_) => Operand::NULL,
            Local::Match(number) => {
                self.patterns[*number].member(&self.memory.matches[*number], path)
            }
        }
    }

    /// Assigns, when nobody wants the value.
    fn assign(&mut self, assign: &Assign) -> Result<(), Failure> {
        if let Expression::Call(call) = &assign.value
            && let Function::ParseRegex(number) = call.function
            && let Target::Local(local) = assign.target
        {
            let found = self.find(call, number);
            return match (found, &assign.fault) {
                (Ok(()), fault) => {
                    self.memory.locals[local] = Local::Match(number);
                    if let Some(fault) = fault {
                        self.store(&fault.target, Operand::NULL);
                    }
                    Ok(())
                }
                (Err(failure), Some(fault)) => {
                    self.store_failed(assign, fault, &failure);
                    Ok(())
                }
                (Err(failure), None) => Err(failure),
            };
        }
        match (self.evaluate(&assign.value), &assign.fault) {
            (Ok(value), fault) => {
                self.store(&assign.target, value);
                if let Some(fault) = fault {
                    self.store(&fault.target, Operand::NULL);
                }
            }
            (Err(failure), Some(fault)) => {
                self.store_failed(assign, fault, &failure);
            }
            (Err(failure), None) => return Err(failure),
        }
        Ok(())
    }

    /// Assigns, and gives the value of the assignment.
    fn assigned(&mut self, assign: &Assign) -> Result<Operand, Failure> {
        match (self.evaluate(&assign.value), &assign.fault) {
            (Ok(value), fault) => {
                self.store(&assign.target, value.clone());
                if let Some(fault) = fault {
                    self.store(&fault.target, Operand::NULL);
                }
                Ok(value)
            }
            (Err(failure), Some(fault)) => Ok(self.store_failed(assign, fault, &failure)),
            (Err(failure), None) => Err(failure),
        }
    }

    fn store_failed(&mut self, assign: &Assign, fault: &Fault, failure: &Failure) -> Operand {
        let words = Operand::Value(Value::from(failure.to_string()));
        self.store(&assign.target, Operand::Value(fault.default.clone()));
        self.store(&fault.target, words.clone());
        words
    }

    fn store(&mut self, target: &Target, operand: Operand) {
        match (target, operand) {
            (Target::Nothing, _) => {}
            (Target::Field(path), Operand::Text(text)) => {
                self.ground.record_mut().insert_text(path, text);
            }
            (Target::Field(path), Operand::Value(value)) => {
                self.ground.record_mut().insert_target(path, value);
            }
            (Target::Local(local), operand) => {
                self.memory.locals[*local] = Local::Operand(operand);
            }
            (Target::Member(local, path), operand) => {
                let value = operand.into_value(self.record());
                let whole = match std::mem::take(&mut self.memory.locals[*local]) {
                    Local::Unset => value.at_path(path),
                    held => {
                        let mut whole = match held {
                            Local::Operand(operand) => operand.into_value(self.record()),
                            Local::Match(number) => self.matched(number),
                            Local::Unset => Value::Null,
                        };
                        whole.insert(path, value);
                        whole
                    }
                };
                self.memory.locals[*local] = Local::Operand(Operand::Value(whole));
            }
        }
    }
}

/// Makes a failure of an error of VRL's own functions, in its words.
fn failure(error: ValueError) -> Failure {
    Box::new(error.into())
}
