//! Pictures: what they are is read off their bytes, never off what the sender says. The walk goes through the container to
//! its end, so that a picture that was cut off is refused; pixels are not decoded and nothing is stripped.
//!
//! Formats: PNG (ISO/IEC 15948), JPEG (ITU-T T.81, with the orientation of Exif 2.3), WebP (RFC 9649).

use crate::error::Refusal;

/// Most bytes of a picture.
pub const BYTES_MAX: usize = 2 * 1024 * 1024;
/// Most pixels of a side.
pub const SIDE_PIXELS_MAX: u32 = 4_000;
/// Where pictures kept here are found, before the name.
const FOLDER: &str = "/media/up/";
/// Hexadecimal digits of a name: SHA-256.
const HASH_DIGITS: usize = 64;
const ALT_CHARS_MAX: usize = 200;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
const JPEG: &[u8] = b"\xff\xd8\xff";

/// Kinds of pictures that are taken. Drawings (SVG) are programs and are not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Portable Network Graphics.
    Png,
    /// JPEG.
    Jpeg,
    /// WebP.
    WebP,
}

impl Format {
    const ALL: [Format; 3] = [Format::Png, Format::Jpeg, Format::WebP];

    fn of(content: &[u8]) -> Option<Format> {
        if content.starts_with(PNG) {
            return Some(Format::Png);
        }
        if content.starts_with(JPEG) {
            return Some(Format::Jpeg);
        }
        let is_webp = content.starts_with(b"RIFF") && content.get(8..12) == Some(b"WEBP".as_slice());
        is_webp.then_some(Format::WebP)
    }

    /// Returns the ending of names.
    pub fn ending(self) -> &'static str {
        match self {
            Format::Png => "png",
            Format::Jpeg => "jpg",
            Format::WebP => "webp",
        }
    }

    /// Returns the media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Png => "image/png",
            Format::Jpeg => "image/jpeg",
            Format::WebP => "image/webp",
        }
    }
}

/// What the bytes of a picture say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Kind.
    pub format: Format,
    /// Pixels across, as shown.
    pub width: u32,
    /// Pixels down, as shown.
    pub height: u32,
}

impl Picture {
    /// Reads what bytes are.
    ///
    /// # Errors
    /// `image_required`, `image_too_large`, `image_unsupported`, `image_broken`, `image_dimensions`.
    pub fn read(content: &[u8]) -> Result<Picture, Refusal> {
        let refuse = |code, message| Err(Refusal::bad(code, "content", message));
        if content.is_empty() {
            return refuse("image_required", "send the bytes of a picture");
        }
        if content.len() > BYTES_MAX {
            return refuse("image_too_large", "a picture has at most 2 MiB; make it smaller or compress it more");
        }
        let Some(format) = Format::of(content) else {
            return refuse("image_unsupported", "only PNG, JPEG and WebP are taken; export the picture as one of them");
        };
        let size = match format {
            Format::Png => png_size(content),
            Format::Jpeg => jpeg_size(content),
            Format::WebP => webp_size(content),
        };
        match size {
            Some((width, height)) if width.max(height) > SIDE_PIXELS_MAX => {
                refuse("image_dimensions", "a picture has at most 4,000 x 4,000 pixels; make it smaller")
            }
            Some((width, height)) if width > 0 && height > 0 => Ok(Picture { format, width, height }),
            _ => refuse("image_broken", "the picture is not whole: its parts do not fit together; export it again"),
        }
    }
}

/// Makes the address of a kept picture.
pub fn picture_url(name: &str) -> String {
    format!("{FOLDER}{name}")
}

/// Returns the name that an address of a kept picture has; `None` for pictures that are elsewhere.
pub fn kept_name(url: &str) -> Option<&str> {
    url.strip_prefix(FOLDER)
}

/// Reads the format off a name; `None` when no kept picture can have it.
pub fn named_format(name: &str) -> Option<Format> {
    let (hash, ending) = name.split_once('.')?;
    let hashed = hash.len() == HASH_DIGITS && hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    Format::ALL.into_iter().find(|format| hashed && format.ending() == ending)
}

/// Checks the text for who cannot see a picture.
///
/// # Errors
/// `bad_alt` over 200 characters, `invalid_text`.
pub fn check_alt(alt: &str) -> Result<(), Refusal> {
    if alt.chars().count() > ALT_CHARS_MAX {
        return Err(Refusal::bad("bad_alt", "alt", "alt has at most 200 characters"));
    }
    super::validate::legible("alt", alt)
}

type Size = (u32, u32);

/// Walks the chunks from IHDR over at least one IDAT to IEND.
fn png_size(content: &[u8]) -> Option<Size> {
    let mut rest = content.strip_prefix(PNG)?;
    let mut size = None;
    let mut has_data = false;
    loop {
        let (head, tail) = rest.split_at_checked(8)?;
        let (body, tail) = tail.split_at_checked(usize::try_from(big32(head)?).ok()?)?;
        // After each chunk comes its checksum.
        rest = tail.get(4..)?;
        match (head.get(4..)?, size) {
            (b"IHDR", None) if body.len() == 13 => size = Some((big32(body)?, big32(body.get(4..)?)?)),
            (b"IHDR", _) | (_, None) => return None,
            (b"IDAT", _) => has_data = true,
            (b"IEND", size) => return size.filter(|_| has_data),
            _ => {}
        }
    }
}

/// Walks the segments and scans to the end of the image. What follows it, as in pictures of telephones, is left alone.
fn jpeg_size(content: &[u8]) -> Option<Size> {
    let mut rest = content.get(2..)?;
    let mut size: Option<Size> = None;
    let (mut turned, mut scanned) = (false, false);
    loop {
        let filled = rest.iter().take_while(|byte| **byte == 0xff).count();
        let marker = *rest.get(filled).filter(|_| filled > 0)?;
        let tail = rest.get(filled + 1..)?;
        match marker {
            0xd9 => {
                return size
                    .filter(|_| scanned)
                    .map(|(width, height)| if turned { (height, width) } else { (width, height) });
            }
            0x01 | 0xd0..=0xd7 => {
                rest = tail;
                continue;
            }
            0x00 | 0xd8 => return None,
            _ => {}
        }
        let (segment, after) = tail.split_at_checked(usize::from(big16(tail)?))?;
        let body = segment.get(2..)?;
        rest = after;
        match marker {
            0xc4 | 0xc8 | 0xcc => {}
            0xc0..=0xcf if size.is_some() => return None,
            0xc0..=0xcf => size = Some((u32::from(big16(body.get(3..)?)?), u32::from(big16(body.get(1..)?)?))),
            0xe1 => turned |= exif_orientation(body).is_some_and(|orientation| orientation >= 5),
            0xda => {
                size?;
                scanned = true;
                rest = after_scan(after)?;
            }
            _ => {}
        }
    }
}

/// Skips compressed data up to the next marker: `ff` is data before `00` and between restarts.
fn after_scan(data: &[u8]) -> Option<&[u8]> {
    let ends = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0x00 | 0xff | 0xd0..=0xd7);
    data.get(data.windows(2).position(ends)?..)
}

/// Reads how a picture has to be turned to be shown; from 5 on its sides change places.
fn exif_orientation(segment: &[u8]) -> Option<u16> {
    const ORIENTATION: u16 = 0x0112;
    let tiff = segment.strip_prefix(b"Exif\0\0")?;
    let little = match tiff.get(..2)? {
        b"II" => true,
        b"MM" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes: [u8; 2] = tiff.get(at..)?.first_chunk().copied()?;
        Some(if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let long = tiff.get(4..)?.first_chunk().copied()?;
    let start = usize::try_from(if little { u32::from_le_bytes(long) } else { u32::from_be_bytes(long) }).ok()?;
    let entries = usize::from(short(start)?);
    let mut at = start.checked_add(2)?;
    for _ in 0..entries {
        if short(at)? == ORIENTATION {
            return short(at + 8);
        }
        at += 12;
    }
    None
}

/// Walks the chunks of the container; an extended one must hold a picture of its size.
fn webp_size(content: &[u8]) -> Option<Size> {
    let length = usize::try_from(little32(content.get(4..)?)?).ok()?;
    let mut rest = content.get(12..length.checked_add(8)?)?;
    let mut canvas = None;
    let mut picture = None;
    while !rest.is_empty() {
        let (head, tail) = rest.split_at_checked(8)?;
        let length = usize::try_from(little32(head.get(4..)?)?).ok()?;
        let (body, tail) = tail.split_at_checked(length)?;
        // Chunks of odd length are padded.
        rest = tail.get(length % 2..)?;
        match head.get(..4)? {
            b"VP8X" if canvas.is_none() && picture.is_none() => {
                canvas = Some((1 + little24(body.get(4..)?)?, 1 + little24(body.get(7..)?)?));
            }
            b"VP8 " if picture.is_none() => picture = Some(lossy_size(body)?),
            b"VP8L" if picture.is_none() => picture = Some(lossless_size(body)?),
            // A frame of a moving picture; its size is within the canvas.
            b"ANMF" if picture.is_none() => picture = Some(canvas?),
            _ => {}
        }
    }
    picture.filter(|picture| canvas.is_none_or(|canvas| canvas == *picture))
}

/// Reads a VP8 key frame: three bytes of tag, the start code, then two sides of 14 bits.
fn lossy_size(frame: &[u8]) -> Option<Size> {
    let is_key_frame = frame.first()? & 1 == 0;
    let rest = frame.get(3..)?.strip_prefix(b"\x9d\x01\x2a").filter(|_| is_key_frame)?;
    let side = |at: usize| Some(u32::from(u16::from_le_bytes(rest.get(at..)?.first_chunk().copied()?) & 0x3fff));
    Some((side(0)?, side(2)?))
}

/// Reads a VP8L header: the signature, then two sides less one of 14 bits.
fn lossless_size(frame: &[u8]) -> Option<Size> {
    let bits = little32(frame.strip_prefix(b"\x2f")?)?;
    Some(((bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1))
}

fn big16(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

fn big32(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

fn little24(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk::<3>().map(|[a, b, c]| u32::from_le_bytes([*a, *b, *c, 0]))
}

fn little32(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

#[cfg(test)]
#[path = "picture_tests.rs"]
mod tests;
