//! Pictures as a browser made them (`tests/pictures`), whole and damaged.

use super::*;

const SMALL_PNG: &[u8] = include_bytes!("../../tests/pictures/small.png");
const PLAIN_JPEG: &[u8] = include_bytes!("../../tests/pictures/plain.jpg");
const LOSSY_WEBP: &[u8] = include_bytes!("../../tests/pictures/lossy.webp");
const LOSSLESS_WEBP: &[u8] = include_bytes!("../../tests/pictures/lossless.webp");
const ALPHA_WEBP: &[u8] = include_bytes!("../../tests/pictures/alpha.webp");

fn told(content: &[u8]) -> Result<(&'static str, u32, u32), &'static str> {
    match Picture::read(content) {
        Ok(picture) => Ok((picture.format.content_type(), picture.width, picture.height)),
        Err(Refusal::Bad { code, param, .. }) => {
            assert_eq!(param, "content");
            Err(code)
        }
        Err(other) => panic!("{other:?}"),
    }
}

/// Puts a segment behind the start of a JPEG.
fn with_segment(marker: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + 2).unwrap().to_be_bytes();
    [&PLAIN_JPEG[..2], &[0xff, marker], &length, body, &PLAIN_JPEG[2..]].concat()
}

fn orientation(value: u8, little: bool) -> Vec<u8> {
    let body: &[u8] = match little {
        true => &[b'I', b'I', 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 0x01, 3, 0, 1, 0, 0, 0, value, 0, 0, 0, 0, 0, 0, 0],
        false => &[b'M', b'M', 0, 42, 0, 0, 0, 8, 0, 1, 0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, value, 0, 0, 0, 0, 0, 0],
    };
    with_segment(0xe1, &[b"Exif\0\0", body].concat())
}

/// Makes a file of the chunk that an extended one holds.
fn plain_webp(extended: &[u8], kind: &[u8]) -> Vec<u8> {
    let at = extended.windows(4).position(|four| four == kind).unwrap();
    let length = little32(&extended[at + 4..]).unwrap() as usize;
    let chunk = &extended[at..at + 8 + length + length % 2];
    [b"RIFF", (chunk.len() as u32 + 4).to_le_bytes().as_slice(), b"WEBP", chunk].concat()
}

/// Says another size in the header of a PNG.
fn png_of(width: u32, height: u32) -> Vec<u8> {
    let mut png = SMALL_PNG.to_vec();
    png[16..20].copy_from_slice(&width.to_be_bytes());
    png[20..24].copy_from_slice(&height.to_be_bytes());
    png
}

#[test]
fn kind_and_size_are_read_off_the_bytes() {
    assert_eq!(told(SMALL_PNG), Ok(("image/png", 3, 2)));
    assert_eq!(told(PLAIN_JPEG), Ok(("image/jpeg", 40, 20)));
    for webp in [LOSSY_WEBP, LOSSLESS_WEBP, ALPHA_WEBP] {
        assert_eq!(told(webp), Ok(("image/webp", 24, 16)));
    }
    assert_eq!(told(&plain_webp(LOSSY_WEBP, b"VP8 ")), Ok(("image/webp", 24, 16)));
    assert_eq!(told(&plain_webp(LOSSLESS_WEBP, b"VP8L")), Ok(("image/webp", 24, 16)));
}

#[test]
fn a_turned_photograph_has_the_size_it_is_shown_in() {
    for little in [true, false] {
        assert_eq!(told(&orientation(1, little)), Ok(("image/jpeg", 40, 20)));
        assert_eq!(told(&orientation(3, little)), Ok(("image/jpeg", 40, 20)));
        assert_eq!(told(&orientation(6, little)), Ok(("image/jpeg", 20, 40)));
        assert_eq!(told(&orientation(8, little)), Ok(("image/jpeg", 20, 40)));
    }
    // Broken metadata turns nothing.
    assert_eq!(told(&with_segment(0xe1, b"Exif\0\0II*\0\xff\xff\xff\xff")), Ok(("image/jpeg", 40, 20)));
}

#[test]
fn what_is_no_picture_is_not_supported() {
    let svg: &[u8] = b"<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>";
    for content in
        [svg, b"<?xml version=\"1.0\"?><svg/>", b"GIF89a\x01\0\x01\0", b"hello", b"\x89PNG", b"RIFF\x04\0\0\0WAVE"]
    {
        assert_eq!(told(content), Err("image_unsupported"), "{content:?}");
    }
    assert_eq!(told(b""), Err("image_required"));
}

#[test]
fn a_picture_cut_off_anywhere_is_refused() {
    for whole in [SMALL_PNG, PLAIN_JPEG, LOSSY_WEBP, LOSSLESS_WEBP, ALPHA_WEBP] {
        for end in 0..whole.len() {
            assert!(told(&whole[..end]).is_err(), "{end} of {} bytes", whole.len());
        }
    }
}

#[test]
fn parts_that_do_not_fit_together_are_refused() {
    // Every part of this kind becomes one that is unknown.
    let without = |content: &[u8], kind: &[u8]| {
        let mut broken = content.to_vec();
        while let Some(at) = broken.windows(kind.len()).position(|part| part == kind) {
            broken[at] = b'x';
        }
        assert_ne!(broken, content);
        broken
    };
    assert_eq!(told(&without(SMALL_PNG, b"IHDR")), Err("image_broken"));
    assert_eq!(told(&without(SMALL_PNG, b"IDAT")), Err("image_broken"));
    assert_eq!(told(&without(LOSSY_WEBP, b"VP8 ")), Err("image_broken"));
    // The canvas says another size than the picture in it.
    let mut canvas = LOSSY_WEBP.to_vec();
    canvas[24] = 9;
    assert_eq!(told(&canvas), Err("image_broken"));
    // No frame, or two.
    let frame = PLAIN_JPEG.windows(2).position(|two| two == [0xff, 0xc0]).unwrap();
    let mut jpeg = PLAIN_JPEG.to_vec();
    jpeg[frame + 1] = 0xec;
    assert_eq!(told(&jpeg), Err("image_broken"));
    assert_eq!(told(&with_segment(0xc0, &[8, 0, 20, 0, 40, 1, 1, 0x11, 0])), Err("image_broken"));
    assert_eq!(told(b"\xff\xd8\xff\xd9"), Err("image_broken"));
    assert_eq!(told(&png_of(0, 2)), Err("image_broken"));
    // A document that only begins as a picture.
    assert_eq!(told(&[PNG, b"<html>"].concat()), Err("image_broken"));
}

#[test]
fn limits_are_kept() {
    assert_eq!(told(&png_of(4_000, 4_000)), Ok(("image/png", 4_000, 4_000)));
    assert_eq!(told(&png_of(4_001, 1)), Err("image_dimensions"));
    assert_eq!(told(&png_of(1, u32::MAX)), Err("image_dimensions"));
    let mut large = SMALL_PNG.to_vec();
    large.resize(BYTES_MAX, 0);
    assert_eq!(told(&large), Ok(("image/png", 3, 2)));
    large.push(0);
    assert_eq!(told(&large), Err("image_too_large"));
}

#[test]
fn only_names_that_are_given_are_names() {
    let hash = "0123456789abcdef".repeat(4);
    assert_eq!(named_format(&format!("{hash}.jpg")), Some(Format::Jpeg));
    for name in
        ["", ".png", "a.png", &hash, &format!("{hash}.gif"), &format!("{hash}.png?x"), &format!("../{hash}.png")]
    {
        assert_eq!(named_format(name), None, "{name}");
    }
    assert_eq!(named_format(&format!("{}.png", hash.to_uppercase())), None);
    assert_eq!(kept_name(&picture_url("x.png")), Some("x.png"));
    assert_eq!(kept_name("/media/demo/x.png"), None);
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_the_reader_fall(which in 0..5usize, at in 0..900usize, value: u8, cut in 0..900usize) {
        let mut content = [SMALL_PNG, PLAIN_JPEG, LOSSY_WEBP, LOSSLESS_WEBP, ALPHA_WEBP][which].to_vec();
        let at = at % content.len();
        content[at] = value;
        content.truncate(content.len() - cut % 4);
        let _ = Picture::read(&content);
    }
}
