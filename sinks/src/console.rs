//! `console` writes records to the standard output or the standard error of the process.
//!
//! Whole buffers go out in as few writes as the other side takes. A slow reader is waited for,
//! which in the end slows the sources; a reader that is gone ends the run, because nobody will ever
//! read what is left.

use crate::deliver::{GroupLimits, Trouble, next_group};
use crate::encoding::{ENCODING, Encoding, FRAMING};
use crate::limits::{GROUP_BATCHES_MAX, GROUP_BYTES_MAX};
use azud_plan::component::{
    Batches, BuildContext, BuildError, Default, Encoder, Example, Kind, OptionKind, OptionSpec,
    Options, Resource, RunError, SinkFactory, SinkSpec, SinkTask,
};
use azud_plan::diagnostic::Checker;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::Duration;

/// The registry's entry of `console`.
pub const CONSOLE: SinkFactory = SinkFactory {
    name: "console",
    summary: "Writes records to the standard output or the standard error.",
    description: "\
Writes each record as one line to the standard output, or the standard error, of the process.

A slow reader is waited for; nothing is dropped. When the reader is gone (`azud run | head`) \
the sink ends with an error, and what it had not written stays unconfirmed.",
    inputs: &[Kind::Log, Kind::Alert],
    options: &[
        OptionSpec {
            name: "target",
            kind: OptionKind::OneOf(&[
                ("stdout", "the standard output"),
                ("stderr", "the standard error, which also carries the log of the process"),
            ]),
            default: Default::Value("\"stdout\""),
            summary: "Where to write.",
        },
        ENCODING,
        FRAMING,
    ],
    check,
    examples: &[
        Example {
            title: "Records as JSON, one a line",
            toml: "type = \"console\"\nencoding.codec = \"json\"\n",
            input: "{\"message\":\"hello\",\"host\":\"web1\"}\n",
            output: "{\"message\":\"hello\",\"host\":\"web1\"}\n",
        },
        Example {
            title: "Only the message, as text, on the standard error",
            toml: "type = \"console\"\ntarget = \"stderr\"\nencoding.codec = \"text\"\n",
            input: "{\"message\":\"hello\",\"host\":\"web1\"}\n",
            output: "hello\n",
        },
    ],
};

/// A checked `console`.
struct Console {
    target: Target,
    encoding: Encoding,
}

#[derive(Clone, Copy)]
enum Target {
    Stdout,
    Stderr,
}

fn check(options: &Options<'_>, _checker: &mut Checker) -> Option<Box<dyn SinkSpec>> {
    let encoding = Encoding::check(options);
    let target = match options.one_of("target")? {
        "stderr" => Target::Stderr,
        _ => Target::Stdout,
    };
    Some(Box::new(Console { target, encoding: encoding? }))
}

impl SinkSpec for Console {
    fn encoder(&self) -> Box<dyn Encoder> {
        Box::new(self.encoding.encoder())
    }

    fn resources(&self) -> Vec<Resource> {
        Vec::new()
    }

    fn build(&self, context: &BuildContext) -> Result<Box<dyn SinkTask>, BuildError> {
        // A descriptor of our own, without the buffer of the standard library: after a failed write
        // it is known what went out, and the end of the task closes nothing that others use.
        let (name, descriptor) = match self.target {
            Target::Stdout => ("standard output", io::stdout().as_fd().try_clone_to_owned()),
            Target::Stderr => ("standard error", io::stderr().as_fd().try_clone_to_owned()),
        };
        let descriptor = descriptor.map_err(|error| BuildError {
            message: format!("the {name} cannot be written: {error}"),
            help: Some(format!("start the process with an open {name}")),
        })?;
        let trouble = Trouble::new(&context.id);
        Ok(Box::new(Running { name, output: File::from(descriptor), trouble }))
    }
}

/// A running `console`, over whatever can be written to.
struct Running<W> {
    name: &'static str,
    output: W,
    trouble: Trouble,
}

impl<W: Write + Send + 'static> SinkTask for Running<W> {
    fn run(self: Box<Self>, batches: Batches) -> BoxFuture<'static, Result<(), RunError>> {
        self.deliver(batches).boxed()
    }
}

impl<W: Write + Send + 'static> Running<W> {
    async fn deliver(mut self: Box<Self>, mut batches: Batches) -> Result<(), RunError> {
        const LIMITS: GroupLimits = GroupLimits {
            bytes: GROUP_BYTES_MAX,
            records: usize::MAX,
            batches: GROUP_BATCHES_MAX,
            linger: Duration::ZERO,
        };
        while let Some(group) = next_group(&mut batches, LIMITS).await {
            let mut output = self.output;
            let mut trouble = self.trouble;
            let writing = tokio::task::spawn_blocking(move || {
                let write = || {
                    for batch in group {
                        write_all(&mut output, &batch.bytes, &mut trouble)?;
                        batch.confirmation.confirm();
                    }
                    Ok::<_, io::Error>(())
                };
                let written = write();
                (output, trouble, written)
            });
            let written;
            (self.output, self.trouble, written) =
                writing.await.map_err(|error| RunError { message: error.to_string() })?;
            written.map_err(|error| RunError {
                message: format!("nobody reads the {} any more: {error}", self.name),
            })?;
        }
        Ok(())
    }
}

/// Writes all of `bytes`, waiting as long as the other side is only slow or full. Blocks.
fn write_all(output: &mut impl Write, mut bytes: &[u8], trouble: &mut Trouble) -> io::Result<()> {
    while !bytes.is_empty() {
        match output.write(bytes) {
            Ok(count) if count > 0 => {
                bytes = &bytes[count..];
                trouble.over();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if is_final(&error) => return Err(error),
            refused => {
                let error = refused.err().unwrap_or_else(|| io::ErrorKind::WriteZero.into());
                // A descriptor that somebody else made non-blocking says so of a slow reader: no
                // trouble to tell.
                let pause = match error.kind() {
                    io::ErrorKind::WouldBlock => Duration::from_millis(1),
                    _ => trouble.failed(&error),
                };
                std::thread::sleep(pause);
            }
        }
    }
    Ok(())
}

/// Whether the reader is gone for good: a closed pipe or socket, a terminal that hung up.
fn is_final(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    const EBADF: i32 = 9;
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
        || matches!(error.raw_os_error(), Some(EIO | EBADF))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{batch, queue};
    use futures_util::SinkExt;
    use std::io::Read;

    fn running<W: Write + Send + 'static>(output: W) -> Box<Running<W>> {
        Box::new(Running { name: "standard output", output, trouble: Trouble::new("console") })
    }

    #[tokio::test]
    async fn batches_come_out_whole_and_in_order() {
        let (mut reader, writer) = io::pipe().unwrap();
        let (mut sender, batches) = queue();
        let (one, first) = batch("", "1\n2\n");
        let (two, second) = batch("", "3\n");
        sender.send(one).await.unwrap();
        sender.send(two).await.unwrap();
        drop(sender);
        running(writer).run(batches).await.unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "1\n2\n3\n");
        assert_eq!((first.count(), second.count()), (1, 1));
    }

    // The reader blocks its thread, as another process would its own.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_slow_reader_is_waited_for() {
        // More than a pipe holds, so that the writer has to wait for the reader.
        let text = "x".repeat(400_000) + "\n";
        let (mut reader, writer) = io::pipe().unwrap();
        let (mut sender, batches) = queue();
        let (large, confirmed) = batch("", &text);
        sender.send(large).await.unwrap();
        drop(sender);
        let run = tokio::spawn(running(writer).run(batches));
        let mut first = vec![0; 1000];
        reader.read_exact(&mut first).unwrap();
        assert_eq!(confirmed.count(), 0);
        let mut rest = Vec::new();
        tokio::task::spawn_blocking(move || reader.read_to_end(&mut rest)).await.unwrap().unwrap();
        run.await.unwrap().unwrap();
        assert_eq!(confirmed.count(), 1);
    }

    #[tokio::test]
    async fn a_reader_that_is_gone_ends_the_run_with_an_error() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let (mut sender, batches) = queue();
        let (lost, confirmed) = batch("", "1\n");
        sender.send(lost).await.unwrap();
        let error = running(writer).run(batches).await.unwrap_err();
        assert!(error.message.starts_with("nobody reads the standard output"), "{error}");
        assert_eq!(confirmed.count(), 0);
    }
}
