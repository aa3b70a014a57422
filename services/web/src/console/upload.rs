//! Forms that bring a file (RFC 7578): the fields as of any form, and one file, kept only up to its limit.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::body::Body;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt;
use mallard_types::{Error, Result};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use crate::ask::{Ask, Fields, header};

/// Largest picture.
pub const FILE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Room for the other fields and what stands between the parts.
const REST_BYTES_MAX: usize = 64 * 1024;
/// Most that is read of a form at all. What goes beyond the file's limit is thrown away, so that the browser gets to the answer
/// that says what is wrong.
const READ_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Most that is read of a form without a file, likewise; the gateway takes no more.
const FORM_READ_BYTES_MAX: usize = 1024 * 1024;
/// Longest a form may take to come in.
const WHOLE_FORM: Duration = Duration::from_secs(60);
/// How long one may take besides what its bytes earn it.
const PATIENCE: Duration = Duration::from_secs(10);
/// Least rate: 16,000 bytes a second.
const BYTES_PER_MS_MIN: usize = 16;
const BOUNDARY_BYTES_MAX: usize = 70;
const PARTS_MAX: usize = 50;

/// A file somebody sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Upload {
    /// What the browser calls it.
    pub name: String,
    /// Its content, cut off when it is too large.
    pub content: Vec<u8>,
    /// It has more than [`FILE_BYTES_MAX`] bytes.
    pub too_large: bool,
}

/// Places for files on their way: some in all, one for each account.
pub struct Places {
    all: Semaphore,
    accounts: Mutex<BTreeSet<String>>,
}

/// A place, given back when it is dropped.
pub struct Place<'a> {
    places: &'a Places,
    account: String,
    _one: SemaphorePermit<'a>,
}

impl Places {
    /// Makes room for this many files at once.
    pub fn new(files_max: usize) -> Places {
        Places { all: Semaphore::new(files_max), accounts: Mutex::default() }
    }

    /// Takes a place; none when all are taken, or the account has one.
    pub fn take(&self, account: &str) -> Option<Place<'_>> {
        let one = self.all.try_acquire().ok()?;
        let is_first = self.accounts.lock().insert(account.to_owned());
        is_first.then(|| Place { places: self, account: account.to_owned(), _one: one })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.places.accounts.lock().remove(&self.account);
    }
}

/// Reads a form with a file, for who may put up pictures: whoever may not is told before a byte of it is read.
///
/// # Errors
/// `unauthenticated`, `forbidden`; `form_unreadable`, `form_too_large`, `form_too_slow`; `upload_busy` when too many files are
/// on their way, or one of the same account.
pub async fn read(ask: &Ask, headers: &HeaderMap, body: Body) -> Result<(Fields, Option<Upload>)> {
    let caller = super::permit(ask, "POST", "/seller/v1/images", &[]).await?;
    let _place = ask.site.console.uploads.take(&caller.user_id).ok_or_else(|| {
        Error::unavailable("upload_busy", "too many files are on their way; try again").retry_after_ms(1_000)
    })?;
    let kind = header(headers, CONTENT_TYPE.as_str());
    let (content, is_whole) = take(body, FILE_BYTES_MAX + REST_BYTES_MAX, READ_BYTES_MAX).await?;
    match boundary(kind) {
        Some(boundary) => parse(&content, &boundary, is_whole),
        None if is_whole => Ok((Fields::form(&content)?, None)),
        None => Err(too_large()),
    }
}

/// Reads a form without a file.
///
/// # Errors
/// `form_unreadable`, `form_too_slow`; `form_too_large` for more bytes or fields than may be.
pub async fn read_fields(body: Body, bytes_max: usize) -> Result<Fields> {
    match take(body, bytes_max, FORM_READ_BYTES_MAX).await? {
        (content, true) => Fields::form(&content),
        _ => Err(too_large()),
    }
}

fn unreadable() -> Error {
    Error::invalid("form_unreadable", "the form was cut off or is none")
}

fn too_large() -> Error {
    Error::invalid("form_too_large", "the form is too large")
}

/// Reads a body, keeping its beginning; tells whether that is all. One that comes too slowly is given up.
async fn take(mut body: Body, keep_bytes_max: usize, read_bytes_max: usize) -> Result<(Vec<u8>, bool)> {
    let begun = Instant::now();
    let (mut kept, mut read) = (Vec::new(), 0usize);
    loop {
        let earned = Duration::from_millis((read / BYTES_PER_MS_MIN) as u64);
        let until = begun + (PATIENCE + earned).min(WHOLE_FORM);
        let frame = match timeout_at(until, body.frame()).await {
            Ok(Some(frame)) => frame,
            Ok(None) => break,
            Err(_) => return Err(Error::invalid("form_too_slow", "the form came too slowly; send it again")),
        };
        let Ok(data) = frame.map_err(|_| unreadable())?.into_data() else { continue };
        read = read.saturating_add(data.len());
        if read > read_bytes_max {
            return Err(too_large());
        }
        let room = keep_bytes_max - kept.len();
        kept.extend_from_slice(&data[..data.len().min(room)]);
    }
    let is_whole = kept.len() == read;
    Ok((kept, is_whole))
}

/// Returns the boundary of a form of several parts.
fn boundary(kind: &str) -> Option<String> {
    let mut parts = kind.split(';');
    if !parts.next()?.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let found = parts.find_map(|part| part.trim().strip_prefix("boundary="))?.trim_matches('"');
    let good = !found.is_empty() && found.len() <= BOUNDARY_BYTES_MAX && found.is_ascii();
    good.then(|| found.to_owned())
}

/// Splits a form into its fields and its file; a form that was cut off may end in the middle of its file.
fn parse(content: &[u8], boundary: &str, is_whole: bool) -> Result<(Fields, Option<Upload>)> {
    let (open, next) = (format!("--{boundary}"), format!("\r\n--{boundary}"));
    let mut rest = content.strip_prefix(open.as_bytes()).ok_or_else(unreadable)?;
    let (mut fields, mut file) = (Vec::new(), None);
    for _ in 0..PARTS_MAX {
        if rest.starts_with(b"--") {
            return Ok((Fields::of(fields), file));
        }
        let part = rest.strip_prefix(b"\r\n").ok_or_else(unreadable)?;
        let head = find(part, b"\r\n\r\n").ok_or_else(unreadable)?;
        let (name, file_name) = names(&part[..head]).ok_or_else(unreadable)?;
        let body = &part[head + 4..];
        let end = find(body, next.as_bytes());
        if end.is_none() && (is_whole || file_name.is_none()) {
            return Err(unreadable());
        }
        let value = &body[..end.unwrap_or(body.len())];
        match file_name {
            // A file field nobody filled comes as an empty file without a name.
            Some(file_name) if file.is_none() && !(file_name.is_empty() && value.is_empty()) => {
                let too_large = end.is_none() || value.len() > FILE_BYTES_MAX;
                let content = if too_large { Vec::new() } else { value.to_vec() };
                file = Some(Upload { name: file_name, content, too_large });
            }
            Some(_) => {}
            None => fields.push((name, String::from_utf8_lossy(value).into_owned())),
        }
        match end {
            Some(end) => rest = &body[end + next.len()..],
            None => return Ok((Fields::of(fields), file)),
        }
    }
    Err(unreadable())
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

/// Reads the name of a part, and of its file when it is one.
fn names(head: &[u8]) -> Option<(String, Option<String>)> {
    let head = std::str::from_utf8(head).ok()?;
    let line = head.split("\r\n").find(|line| {
        line.split_once(':').is_some_and(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"))
    })?;
    let param = |wanted: &str| {
        let (_, rest) = line.split_once(&format!("; {wanted}=\""))?;
        Some(rest.split_once('"')?.0.to_owned())
    };
    Some((param("name")?, param("filename")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(parts: &[(&str, Option<&str>, &[u8])], end: &str) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, file, value) in parts {
            let file = file.map(|file| format!("; filename=\"{file}\"\r\nContent-Type: image/png")).unwrap_or_default();
            let head = format!("--xyz\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(end.as_bytes());
        out
    }

    #[test]
    fn fields_and_a_file_are_told_apart_byte_by_byte() {
        let bytes: Vec<u8> = (0..=255).chain(*b"\r\n--xy\r\n\r\n--").collect();
        let sent = form(
            &[("_csrf", None, b"abc"), ("alt", None, "马克杯".as_bytes()), ("file", Some("a.png"), &bytes)],
            "--xyz--\r\n",
        );
        let (fields, file) = parse(&sent, "xyz", true).unwrap();
        assert_eq!((fields.get("_csrf"), fields.get("alt")), ("abc", "马克杯"));
        let file = file.unwrap();
        assert!(file.content == bytes && file.name == "a.png" && !file.too_large);
    }

    #[test]
    fn a_file_beyond_the_limit_is_named_and_not_kept() {
        let large = vec![7; FILE_BYTES_MAX + 1];
        let sent = form(&[("_csrf", None, b"abc"), ("file", Some("a.png"), &large)], "--xyz--\r\n");
        let (_, file) = parse(&sent, "xyz", true).unwrap();
        assert!(file.is_some_and(|file| file.too_large && file.content.is_empty()));
        // Cut off in its middle, as a much larger one is: the fields before it are there.
        let (fields, file) = parse(&sent[..FILE_BYTES_MAX], "xyz", false).unwrap();
        assert_eq!(fields.get("_csrf"), "abc");
        assert!(file.unwrap().too_large);
    }

    #[test]
    fn no_file_is_no_file_and_nonsense_is_refused() {
        let sent = form(&[("alt", None, b"x"), ("file", Some(""), b"")], "--xyz--\r\n");
        assert!(parse(&sent, "xyz", true).unwrap().1.is_none());
        for bad in [&b""[..], b"--xyz", b"--xyz\r\n", b"--other--", &sent[..sent.len() - 12]] {
            assert!(parse(bad, "xyz", true).is_err());
        }
        assert_eq!(boundary("multipart/form-data; boundary=\"a b\"").as_deref(), Some("a b"));
        assert_eq!(boundary("multipart/mixed; boundary=a"), None);
        assert_eq!(boundary("multipart/form-data"), None);
        assert_eq!(boundary("application/x-www-form-urlencoded"), None);
    }

    #[tokio::test]
    async fn a_body_is_read_to_its_end_and_kept_to_the_limit() {
        let (kept, is_whole) = take(Body::from(vec![1; 100]), 60, 1_000).await.unwrap();
        assert_eq!((kept.len(), is_whole), (60, false));
        assert!(take(Body::from(vec![1; 60]), 60, 1_000).await.unwrap().1);
        assert_eq!(take(Body::from(vec![1; 1_001]), 60, 1_000).await.unwrap_err().code, "form_too_large");
        assert_eq!(read_fields(Body::from(vec![b'a'; 61]), 60).await.unwrap_err().code, "form_too_large");
        assert_eq!(read_fields(Body::from("a=1"), 60).await.unwrap().get("a"), "1");
    }

    /// Makes a body whose pieces come so far apart.
    fn dripping(pieces: usize, bytes: usize, apart: Duration) -> Body {
        Body::from_stream(futures_util::stream::unfold(0, move |i| async move {
            tokio::time::sleep(apart).await;
            (i < pieces).then(|| (Ok::<_, std::io::Error>(vec![b'a'; bytes]), i + 1))
        }))
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_comes_too_slowly_is_given_up_and_one_that_only_takes_long_is_not() {
        const ALL: usize = 4 * 1024 * 1024;
        let code = |taken: Result<(Vec<u8>, bool)>| taken.unwrap_err().code;
        // One byte a second, one that stops, one that is fast enough but takes longer than a minute.
        assert_eq!(code(take(dripping(600, 1, Duration::from_secs(1)), ALL, ALL).await), "form_too_slow");
        assert_eq!(
            code(take(Body::from_stream(futures_util::stream::pending::<std::io::Result<Vec<u8>>>()), ALL, ALL).await),
            "form_too_slow"
        );
        assert_eq!(code(take(dripping(80, 40_000, Duration::from_secs(1)), ALL, ALL).await), "form_too_slow");
        let (kept, is_whole) = take(dripping(50, 40_000, Duration::from_secs(1)), ALL, ALL).await.unwrap();
        assert_eq!((kept.len(), is_whole), (2_000_000, true));
    }

    #[test]
    fn an_account_has_one_place_and_gives_it_back() {
        let places = Places::new(2);
        let ada = places.take("usr_ada").unwrap();
        assert!(places.take("usr_ada").is_none(), "one at a time");
        let ben = places.take("usr_ben").unwrap();
        assert!(places.take("usr_eve").is_none(), "all are taken");
        drop(ada);
        let ada = places.take("usr_ada").unwrap();
        drop((ada, ben));
        assert!(places.take("usr_ben").is_some());
    }
}
