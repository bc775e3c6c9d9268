//! `stdin` reads lines from standard input, and ends with it.

use crate::decoding::{DECODING, Decoding, HOST_KEY, check_key};
use crate::host;
use crate::limits::{READ_BYTES_MAX, RECORDING_MAX_HOLD};
use crate::listen::MAX_LENGTH;
use crate::outlet::{Common, Outlet, WhenFull};
use crate::stream::{End, Pump, StreamBlocks};
use azud_event::codec::Decoder;
use azud_event::codec::framing::Framing;
use azud_event::codec::source_fields::SourceFields;
use azud_event::id::StreamId;
use azud_plan::component::{
    BuildContext, BuildError, Example, Options, Resource, RunError, SourceContext, SourceFactory,
    SourceSpec, SourceTask,
};
use azud_plan::diagnostic::Checker;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::io::{self, Read};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWriteExt, DuplexStream};
use tokio::runtime::Handle;

/// The registry's entry.
pub const STDIN: SourceFactory = SourceFactory {
    name: "stdin",
    summary: "Read lines from standard input.",
    description: "\
Each line is a record; `decoding.codec` says what it is. Records get `host`, the name of this
machine, unless they have one, `source_type`, and `timestamp`, when they were read, unless they
have one.

The source ends when its input ends; a last line without its end counts.",
    options: &[DECODING, MAX_LENGTH, HOST_KEY],
    check,
    examples: &[Example {
        title: "Two lines",
        toml: "",
        input: "one\ntwo",
        output: concat!(
            r#"{"message":"one","host":"web-1","source_type":"stdin","#,
            r#""timestamp":"2026-03-01T10:00:00Z"}"#,
            "\n",
            r#"{"message":"two","host":"web-1","source_type":"stdin","#,
            r#""timestamp":"2026-03-01T10:00:00Z"}"#,
        ),
    }],
};

fn check(options: &Options<'_>, checker: &mut Checker) -> Option<Box<dyn SourceSpec>> {
    let host_key = check_key(options, "host_key", checker);
    let frame_bytes_max = usize::try_from(options.bytes("max_length")?).ok()?;
    let fields = SourceFields::new(STDIN.name).with_host_key(host_key?);
    let decoding = Decoding::check(options)?;
    Some(Box::new(Stdin { common: Common::check(options), decoding, fields, frame_bytes_max }))
}

/// The checked source.
struct Stdin {
    common: Common,
    decoding: Decoding,
    fields: SourceFields,
    frame_bytes_max: usize,
}

impl SourceSpec for Stdin {
    fn decoder(&self) -> Box<dyn Decoder> {
        self.decoding.decoder(self.fields.clone().with_host(host::name()))
    }

    fn max_hold(&self) -> Duration {
        RECORDING_MAX_HOLD
    }

    fn resources(&self) -> Vec<Resource> {
        Vec::new()
    }

    fn build(&self, context: &BuildContext) -> Result<Box<dyn SourceTask>, BuildError> {
        Ok(Box::new(StdinTask {
            id: context.id.clone(),
            frame_bytes_max: self.frame_bytes_max,
            when_full: self.common.when_full,
        }))
    }
}

/// Standard input, not read yet.
struct StdinTask {
    id: String,
    frame_bytes_max: usize,
    when_full: WhenFull,
}

impl StdinTask {
    async fn serve(self, context: SourceContext) -> Result<(), RunError> {
        let failed =
            |error: io::Error| RunError { message: format!("cannot read standard input: {error}") };
        let reader = read_in_thread().map_err(failed)?;
        let StdinTask { id, frame_bytes_max, when_full } = self;
        read_to_end(&id, reader, frame_bytes_max, when_full, context).await.map_err(failed)
    }
}

impl SourceTask for StdinTask {
    fn run(self: Box<Self>, context: SourceContext) -> BoxFuture<'static, Result<(), RunError>> {
        self.serve(context).boxed()
    }
}

/// Reads lines until the reader ends, or it is time to stop.
async fn read_to_end(
    id: &str,
    reader: impl AsyncRead + Unpin,
    frame_bytes_max: usize,
    when_full: WhenFull,
    context: SourceContext,
) -> io::Result<()> {
    // Another run reads another input, which starts at 0 again.
    let start = context.clock.now().nanoseconds();
    let stream = StreamId::named(format!("{id} stdin {start}").as_bytes());
    let blocks = StreamBlocks::new(context.source, stream, Framing::Lines, frame_bytes_max, 0);
    let outlet = Outlet::new(context, when_full);
    match (Pump { blocks, outlet, idle_timeout: None }).run(reader).await {
        End::Failed(error) => Err(error),
        End::Closed | End::Idle | End::Shutdown => Ok(()),
    }
}

/// Reads standard input in a thread of its own, at most one block ahead.
///
/// A read of a terminal cannot be called off. In a thread of the runtime it would keep the program
/// from ending until somebody types a line; this thread nobody waits for.
fn read_in_thread() -> io::Result<DuplexStream> {
    let (mut sender, receiver) = tokio::io::duplex(READ_BYTES_MAX);
    let runtime = Handle::current();
    let read = move || {
        let mut input = io::stdin().lock();
        let mut buffer = vec![0; READ_BYTES_MAX / 4];
        loop {
            match input.read(&mut buffer) {
                Ok(0) => return,
                Ok(bytes) => {
                    // Nobody listens any more: the source was told to stop.
                    if runtime.block_on(sender.write_all(&buffer[..bytes])).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::error!(%error, "cannot read standard input");
                    return;
                }
            }
        }
    };
    std::thread::Builder::new().name("stdin".to_owned()).spawn(read)?;
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, assert_joined, no_shutdown, records_of};

    #[tokio::test]
    async fn it_ends_with_its_input_and_gives_the_last_line() {
        let bench = Bench::new("stdin_end", usize::MAX);
        let (mut writer, reader) = tokio::io::duplex(64);
        let context = bench.context(no_shutdown());
        let read =
            tokio::spawn(
                async move { read_to_end("in", reader, 100, WhenFull::Block, context).await },
            );
        writer.write_all(b"one\n").await.unwrap();
        bench.until_records(&["one"]).await;
        writer.write_all(b"two\r\nthr").await.unwrap();
        bench.until_records(&["one", "two"]).await;
        writer.write_all(b"ee").await.unwrap();
        drop(writer);
        read.await.unwrap().unwrap();
        assert_eq!(records_of(&bench.taken()), ["one", "two", "three"]);
        assert_joined(&bench.taken());
        let [end] = &bench.ends()[..] else { panic!("the stream ended once") };
        assert_eq!((end.stream, end.position), (bench.taken()[0].stream, 14));
    }

    #[tokio::test]
    async fn it_stops_when_told_to_while_nothing_comes() {
        let bench = Bench::new("stdin_stop", usize::MAX);
        let (_writer, reader) = tokio::io::duplex(64);
        let told = futures_util::future::ready(()).boxed().shared();
        let context = bench.context(told);
        read_to_end("in", reader, 100, WhenFull::Block, context).await.unwrap();
        assert!(bench.taken().is_empty());
    }
}
