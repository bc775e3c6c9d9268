//! Bodies: read and inflated within bounds.

use crate::failure::Failure;
use crate::limits::{INFLATED_FREE_BYTES, INFLATED_RATIO_MAX};
use azud_plan::component::Cause;
use bytes::Bytes;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use reqwest::Response;
use std::io::{self, Read};

/// What we can inflate, as it stands in `Accept-Encoding`.
pub(crate) const ACCEPTED: &str = "gzip, zstd, deflate";

/// Below this many bytes inflating is done at once; above, on a thread that may take its time.
const INLINE_BYTES: usize = 64 * 1024;

/// Reads a body as it comes.
///
/// # Errors
/// When it breaks off, or is longer than `most`.
pub(crate) async fn read(response: &mut Response, most: usize) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(Failure::of_transport)? {
        if body.len() + chunk.len() > most {
            return Err(too_long(most));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Reads the beginning of a body; one that breaks off has been understood by its status.
pub(crate) async fn beginning(response: &mut Response, most: usize) -> Vec<u8> {
    let mut body = Vec::new();
    while body.len() < most
        && let Ok(Some(chunk)) = response.chunk().await
    {
        body.extend_from_slice(&chunk[..chunk.len().min(most - body.len())]);
    }
    body
}

/// Inflates a body as its `Content-Encoding` says.
///
/// # Errors
/// When it is damaged, cut short, larger than `most`, or was made to be large.
pub(crate) async fn inflate(body: Vec<u8>, encoding: &str, most: usize) -> Result<Bytes, Failure> {
    let encodings: Vec<String> =
        encoding.rsplit(',').map(|encoding| encoding.trim().to_ascii_lowercase()).collect();
    let mut body = body;
    for encoding in encodings {
        if matches!(encoding.as_str(), "" | "identity") || body.is_empty() {
            continue;
        }
        body = if body.len() <= INLINE_BYTES {
            decode(&body, &encoding, most)?
        } else {
            let task = tokio::task::spawn_blocking(move || decode(&body, &encoding, most));
            task.await.map_err(|error| Failure::new(Cause::Local, error.to_string()))??
        };
    }
    Ok(body.into())
}

fn decode(body: &[u8], encoding: &str, most: usize) -> Result<Vec<u8>, Failure> {
    match encoding {
        "gzip" | "x-gzip" => bounded(MultiGzDecoder::new(body), body.len(), most, "gzip"),
        // "deflate" means zlib (RFC 9110 §8.4.1.2), and some send it without its head.
        "deflate" if body[0] & 0x0f == 8 => {
            bounded(ZlibDecoder::new(body), body.len(), most, "deflate")
        }
        "deflate" => bounded(DeflateDecoder::new(body), body.len(), most, "deflate"),
        "zstd" => {
            let decoder = zstd::stream::read::Decoder::new(body);
            bounded(decoder.map_err(|error| damaged("zstd", &error))?, body.len(), most, "zstd")
        }
        _ => {
            let message = format!(
                "the body is encoded as `{encoding}`, which is not read, and was not asked for \
                 (but {ACCEPTED}): see what stands before the server and encodes unasked"
            );
            Err(Failure::new(Cause::Response, message))
        }
    }
}

/// Inflates gzip that is not announced as an encoding but is the content: a file that was asked
/// for.
///
/// # Errors
/// As of [`inflate`].
pub fn gunzip(body: &[u8], most: usize) -> Result<Vec<u8>, Failure> {
    bounded(MultiGzDecoder::new(body), body.len(), most, "gzip")
}

/// Inflates raw deflate, as it stands in a ZIP file.
///
/// # Errors
/// As of [`inflate`].
pub fn undeflate(body: &[u8], most: usize) -> Result<Vec<u8>, Failure> {
    bounded(DeflateDecoder::new(body), body.len(), most, "deflate")
}

fn bounded(
    decoder: impl Read,
    compressed: usize,
    most: usize,
    name: &str,
) -> Result<Vec<u8>, Failure> {
    let by_ratio = compressed.saturating_mul(INFLATED_RATIO_MAX).max(INFLATED_FREE_BYTES);
    let bound = most.min(by_ratio);
    let mut inflated = Vec::new();
    let mut limited = decoder.take(bound as u64 + 1);
    limited.read_to_end(&mut inflated).map_err(|error| damaged(name, &error))?;
    if inflated.len() <= bound {
        return Ok(inflated);
    }
    if bound == most {
        return Err(too_long(most));
    }
    let message = format!(
        "{compressed} bytes of {name} inflate to more than {INFLATED_RATIO_MAX} times as many"
    );
    Err(Failure::new(Cause::Bound, message))
}

fn damaged(name: &str, error: &io::Error) -> Failure {
    Failure::new(Cause::Response, format!("the body is no whole {name}: {error}"))
}

fn too_long(most: usize) -> Failure {
    let message = format!("the answer is larger than the limit of {most} bytes");
    Failure::new(Cause::Bound, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use std::io::Write;

    const TEXT: &[u8] = b"[{\"a\":1},{\"a\":2}]";

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    async fn inflated(body: Vec<u8>, encoding: &str) -> Result<Vec<u8>, Cause> {
        let done = inflate(body, encoding, 64 << 20).await;
        done.map(|body| body.to_vec()).map_err(|failure| failure.cause)
    }

    #[tokio::test]
    async fn what_is_announced_is_inflated() {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(TEXT).unwrap();
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::default());
        raw.write_all(TEXT).unwrap();
        let zstd = zstd::bulk::compress(TEXT, 3).unwrap();
        for (body, encoding) in [
            (gzip(TEXT), "GZIP"),
            ([gzip(&TEXT[..5]), gzip(&TEXT[5..])].concat(), "gzip"),
            (zlib.finish().unwrap(), "deflate"),
            (raw.finish().unwrap(), "deflate"),
            (zstd, "zstd"),
            (gzip(&gzip(TEXT)), "gzip, gzip"),
            (TEXT.to_vec(), "identity"),
        ] {
            assert_eq!(inflated(body, encoding).await.unwrap(), TEXT, "{encoding}");
        }
        let brotli = inflate(TEXT.to_vec(), "br", 64 << 20).await.unwrap_err();
        assert_eq!(brotli.cause, Cause::Response);
        assert!(brotli.message.contains("as `br`, which is not read"), "{}", brotli.message);
        assert!(brotli.message.contains("(but gzip, zstd, deflate)"), "{}", brotli.message);
    }

    #[tokio::test]
    async fn what_is_cut_short_or_damaged_is_noticed_at_every_byte() {
        let whole = gzip(TEXT);
        for length in 1..whole.len() {
            let cut = whole[..length].to_vec();
            assert_eq!(inflated(cut, "gzip").await, Err(Cause::Response), "{length}");
        }
        assert_eq!(inflated(b"<html>".to_vec(), "gzip").await, Err(Cause::Response));
    }

    #[tokio::test]
    async fn a_body_that_was_made_to_be_large_is_refused() {
        let bomb = gzip(&vec![b' '; 32 << 20]);
        assert!(bomb.len() < 64 * 1024);
        assert_eq!(inflated(bomb.clone(), "gzip").await, Err(Cause::Bound));
        let failure = inflate(gzip(&[b' '; 4096]), "gzip", 1000).await.unwrap_err();
        assert_eq!(failure.message, "the answer is larger than the limit of 1000 bytes");
    }
}
