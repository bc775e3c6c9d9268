//! A function of ours in the place of one of VRL's: the same name, signature, documentation and
//! type.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use vrl::compiler::function::closure;
use vrl::prelude::{
    ArgumentList, Compiled, Context, Example, Expression, Function, FunctionCompileContext,
    FunctionExpression, Parameter, Resolved, TimeZone, TypeDef, TypeState, Value,
};

/// What takes the place of a function of VRL.
#[derive(Debug)]
pub struct Replacement {
    /// The function's name.
    pub name: &'static str,
    /// The arguments, in the order in which `run` gets them.
    pub arguments: &'static [&'static str],
    /// The function itself.
    pub run: fn(&Call<'_>) -> Resolved,
    /// Why VRL's own will not do.
    pub reason: &'static str,
}

/// A call of one of our functions.
pub struct Call<'a> {
    /// The arguments, `None` where none was written.
    pub arguments: &'a [Option<Value>],
    /// The time zone of the program.
    pub zone: TimeZone,
    /// A number that all calls at this place of the program share, zero at first.
    pub site: &'a AtomicI64,
}

impl Call<'_> {
    /// Gives a required argument.
    ///
    /// # Errors
    /// When it is missing, which the compiler has excluded.
    pub fn required(&self, index: usize) -> Result<&Value, vrl::prelude::ExpressionError> {
        self.optional(index).ok_or_else(|| "an argument is missing".into())
    }

    /// Gives an optional argument.
    pub fn optional(&self, index: usize) -> Option<&Value> {
        self.arguments.get(index).and_then(Option::as_ref)
    }
}

/// A function under the name and type of `original` that does what `ours` says.
#[derive(Debug)]
pub struct Replaced {
    original: Box<dyn Function>,
    ours: &'static Replacement,
}

impl Replaced {
    pub fn new(original: Box<dyn Function>, ours: &'static Replacement) -> Self {
        Replaced { original, ours }
    }
}

/// Hands everything that describes a function on to `original`; what is compiled is the
/// implementor's own.
macro_rules! describe_as_original {
    () => {
        fn identifier(&self) -> &'static str {
            self.original.identifier()
        }

        fn summary(&self) -> &'static str {
            self.original.summary()
        }

        fn usage(&self) -> &'static str {
            self.original.usage()
        }

        fn category(&self) -> &'static str {
            self.original.category()
        }

        fn return_kind(&self) -> u16 {
            self.original.return_kind()
        }

        fn pure(&self) -> bool {
            self.original.pure()
        }

        fn examples(&self) -> &'static [Example] {
            self.original.examples()
        }

        fn parameters(&self) -> &'static [Parameter] {
            self.original.parameters()
        }

        fn closure(&self) -> Option<closure::Definition> {
            self.original.closure()
        }
    };
}
pub(super) use describe_as_original;

impl Function for Replaced {
    describe_as_original!();

    fn compile(
        &self,
        state: &TypeState,
        context: &mut FunctionCompileContext,
        arguments: ArgumentList,
    ) -> Compiled {
        if let Some(asked) = context.get_external_context_mut::<AskedForMoment>() {
            asked.0 = true;
        }
        let expressions = self.ours.arguments.iter().map(|name| arguments.optional(name)).collect();
        let original = self.original.compile(state, context, arguments)?;
        let site = Site(Arc::default());
        Ok(Expr { original, arguments: expressions, run: self.ours.run, site }.as_expr())
    }
}

/// Set in the configuration of a compilation: whether the program called a replaced function, and
/// so is not the same for all records even if it reads no field.
#[derive(Default)]
pub struct AskedForMoment(pub bool);

#[derive(Clone, Debug)]
struct Expr {
    /// VRL's own expression, of which only the type is used.
    original: Box<dyn Expression>,
    arguments: Vec<Option<Box<dyn Expression>>>,
    run: fn(&Call<'_>) -> Resolved,
    site: Site,
}

#[derive(Clone)]
struct Site(Arc<AtomicI64>);

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Site")
    }
}

impl FunctionExpression for Expr {
    fn resolve(&self, context: &mut Context) -> Resolved {
        let resolve = |argument: &Option<Box<dyn Expression>>| {
            argument.as_ref().map(|argument| argument.resolve(context)).transpose()
        };
        let arguments = self.arguments.iter().map(resolve).collect::<Result<Vec<_>, _>>()?;
        let zone = *context.timezone();
        (self.run)(&Call { arguments: &arguments, zone, site: &self.site.0 })
    }

    fn type_def(&self, state: &TypeState) -> TypeDef {
        self.original.type_def(state)
    }
}
