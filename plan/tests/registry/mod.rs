//! A small registry: components that check like real ones, and are never built.

use azud_event::codec::Decoder;
use azud_plan::component::{
    BuildContext, BuildError, Change, Confine, Default, Encoder, Kind, OptionKind, OptionSpec,
    Options, Port, Resource, Running, SinkFactory, SinkSpec, SinkTask, SourceFactory, SourceSpec,
    SourceTask, Template, TransformFactory, TransformSpec,
};
use azud_plan::diagnostic::{Checker, Span};
use azud_plan::registry::Registry;
use std::net::SocketAddr;
use std::path::PathBuf;

pub const REGISTRY: Registry = Registry {
    sources: &[&LINES],
    transforms: &[&ALERT, &SHAPE, &SPLIT],
    sinks: &[&ALERTS, &CONSOLE, &FILE],
};

const fn option(
    name: &'static str,
    kind: OptionKind,
    default: Default,
    summary: &'static str,
) -> OptionSpec {
    OptionSpec { name, kind, default, summary }
}

static LINES: SourceFactory = SourceFactory {
    name: "lines",
    summary: "Takes in lines.",
    description: "",
    options: &[
        option("address", OptionKind::SocketAddress, Default::Required, "Where to listen."),
        option(
            "max_length",
            OptionKind::Bytes { min: 1, max: 1 << 20 },
            Default::Value("\"64KiB\""),
            "",
        ),
        option(
            "mode",
            OptionKind::OneOf(&[("tcp", ""), ("udp", "")]),
            Default::Value("\"udp\""),
            "",
        ),
        option("timeout", OptionKind::Duration, Default::Value("\"10s\""), ""),
    ],
    check: |options, _| {
        let tcp = options.one_of("mode")? == "tcp";
        Some(Box::new(Lines { address: options.socket_address("address")?, tcp }))
    },
    examples: &[],
};

struct Lines {
    address: SocketAddr,
    tcp: bool,
}

impl SourceSpec for Lines {
    fn decoder(&self) -> Box<dyn Decoder> {
        unreachable!("a plan of the tests is never built")
    }

    fn resources(&self) -> Vec<Resource> {
        let port = if self.tcp { Resource::TcpPort } else { Resource::UdpPort };
        vec![port(self.address)]
    }

    fn build(&self, _: &BuildContext) -> Result<Box<dyn SourceTask>, BuildError> {
        unreachable!("a plan of the tests is never built")
    }
}

/// A transform with these outputs, and perhaps a rule.
struct Step {
    outputs: fn(&Port, &[String]) -> Vec<Port>,
    names: Vec<String>,
    rule: Option<(String, Span)>,
}

impl TransformSpec for Step {
    fn outputs(&self, input: &Port) -> Vec<Port> {
        (self.outputs)(input, &self.names)
    }

    fn build(&self) -> Running {
        unreachable!("a plan of the tests is never built")
    }

    fn rule(&self) -> Option<(&str, Span)> {
        self.rule.as_ref().map(|(rule, span)| (rule.as_str(), *span))
    }
}

static SHAPE: TransformFactory = TransformFactory {
    name: "shape",
    summary: "Shapes records.",
    description: "",
    options: &[
        option("drop_on_error", OptionKind::Boolean, Default::Value("false"), ""),
        option("source", OptionKind::Program, Default::Required, "The program that shapes."),
    ],
    check: |options, _| {
        options.text("source")?;
        let outputs = |input: &Port, _: &[String]| {
            let dropped = Port { name: Some("dropped".into()), optional: true, ..input.clone() };
            vec![input.clone(), dropped]
        };
        Some(Box::new(Step { outputs, names: Vec::new(), rule: None }))
    },
    examples: &[],
};

static SPLIT: TransformFactory = TransformFactory {
    name: "split",
    summary: "Divides records.",
    description: "",
    options: &[option(
        "route",
        OptionKind::Map(&OptionKind::Condition),
        Default::Required,
        "The ways.",
    )],
    check: |options, _| {
        let names = options.map("route").iter().map(|entry| entry.key.clone()).collect();
        let outputs = |input: &Port, names: &[String]| {
            let named = |name: &String| Port { name: Some(name.clone()), ..input.clone() };
            names.iter().map(named).collect()
        };
        Some(Box::new(Step { outputs, names, rule: None }))
    },
    examples: &[],
};

static ALERT: TransformFactory = TransformFactory {
    name: "alert",
    summary: "Makes alerts.",
    description: "",
    options: &[
        option("rule", OptionKind::Text, Default::Required, "The name of the rule. It is unique."),
        option("title", OptionKind::Template, Default::None, ""),
    ],
    check: |options, checker| {
        let title = options.text("title").map(|title| Template::parse(title, checker));
        let outputs = |input: &Port, _: &[String]| {
            vec![Port { kind: Kind::Alert, change: Change::Revised, ..input.clone() }]
        };
        let rule = Some((options.string("rule")?, options.span("rule")));
        (title.is_none_or(|title| title.is_some()))
            .then(|| Box::new(Step { outputs, names: Vec::new(), rule }) as Box<dyn TransformSpec>)
    },
    examples: &[],
};

/// A sink that writes there, if anywhere.
struct Sink(Option<PathBuf>);

impl SinkSpec for Sink {
    fn encoder(&self) -> Box<dyn Encoder> {
        unreachable!("a plan of the tests is never built")
    }

    fn resources(&self) -> Vec<Resource> {
        self.0.iter().cloned().map(Resource::Writes).collect()
    }

    fn build(&self, _: &BuildContext) -> Result<Box<dyn SinkTask>, BuildError> {
        unreachable!("a plan of the tests is never built")
    }
}

fn nowhere(_: &Options<'_>, _: &mut Checker) -> Option<Box<dyn SinkSpec>> {
    Some(Box::new(Sink(None)))
}

static ALERTS: SinkFactory = SinkFactory {
    name: "alerts",
    summary: "Keeps alerts.",
    description: "",
    inputs: &[Kind::Alert],
    options: &[],
    check: nowhere,
    examples: &[],
};

static CONSOLE: SinkFactory = SinkFactory {
    name: "console",
    summary: "Shows everything.",
    description: "",
    inputs: &[Kind::Log, Kind::Alert],
    options: &[
        option("headers", OptionKind::Map(&OptionKind::Confidential), Default::None, ""),
        option("token", OptionKind::Confidential, Default::None, ""),
        option("uri", OptionKind::Confidential, Default::None, ""),
    ],
    check: nowhere,
    examples: &[],
};

static FILE: SinkFactory = SinkFactory {
    name: "file",
    summary: "Writes files.",
    description: "",
    inputs: &[Kind::Log],
    options: &[option("path", OptionKind::Template, Default::Required, "The file.")],
    check: |options, checker| {
        let path = Template::parse(options.text("path")?, checker)?.confined(Confine::Path);
        Some(Box::new(Sink(path.fixed().map(PathBuf::from))))
    },
    examples: &[],
};
