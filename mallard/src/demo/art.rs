//! Pictures of the demo shop's products: flat illustrations drawn from fragments, coloured by the variant.
//!
//! Each kind of product has one fragment in `art/*.xml`, with one-letter places for its colours (`{m}` main, `{d}` its shade,
//! `{l}` its light, …, see [`Palette`]), a pattern (`{p}`, from `motifs.xml`) and an emblem (`{e}`, from `emblems.xml`). The
//! slug of the product chooses the backdrop, so the same slug is always the same picture.

mod backdrop;
mod colour;

use std::collections::BTreeMap;
use std::sync::LazyLock;

pub use colour::{Colour, Palette};

/// Everything a picture is made of.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    /// Which fragment to draw, e.g. `mug`.
    pub kind: &'a str,
    /// Main colour.
    pub colour: Colour,
    /// Second colour; chosen to go with the main one when left out.
    pub accent: Option<Colour>,
    /// Pattern on the body, e.g. `waves`; empty for none.
    pub motif: &'a str,
    /// Small drawing on the body, e.g. `duck`; empty for none.
    pub emblem: &'a str,
    /// Text that chooses the backdrop.
    pub seed: &'a str,
}

/// Where a thing is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It stands on a table.
    Table,
    /// It hangs or lies in front of a wall.
    Wall,
    /// It is part of a drawing: a pattern, clipped by the body, or an emblem within 70 of its middle.
    Part,
}

/// A fragment with what its heading says.
struct Fragment {
    stage: Stage,
    /// Half width of the shadow on the table.
    shadow: i32,
    body: &'static str,
}

const FILES: &[&str] = &[
    include_str!("art/tableware.xml"),
    include_str!("art/kitchen.xml"),
    include_str!("art/lighting.xml"),
    include_str!("art/furniture.xml"),
    include_str!("art/clothing.xml"),
    include_str!("art/shoes.xml"),
    include_str!("art/bags.xml"),
    include_str!("art/audio.xml"),
    include_str!("art/computing.xml"),
    include_str!("art/pantry.xml"),
    include_str!("art/plants.xml"),
    include_str!("art/stationery.xml"),
    include_str!("art/motifs.xml"),
    include_str!("art/emblems.xml"),
];

static FRAGMENTS: LazyLock<BTreeMap<&'static str, Fragment>> =
    LazyLock::new(|| FILES.iter().flat_map(|file| fragments(file)).collect());

/// Returns the names of every kind that can be drawn.
pub fn kinds() -> Vec<&'static str> {
    FRAGMENTS.iter().filter(|(_, fragment)| fragment.stage != Stage::Part).map(|(kind, _)| *kind).collect()
}

/// Returns a pattern or an emblem; nothing for a name that is none.
fn part(name: &str) -> &'static str {
    FRAGMENTS.get(name).filter(|fragment| fragment.stage == Stage::Part).map_or("", |fragment| fragment.body)
}

/// Draws a picture of 800 by 800; nothing when there is no such kind.
pub fn draw(picture: &Picture) -> Option<String> {
    let fragment = FRAGMENTS.get(picture.kind).filter(|fragment| fragment.stage != Stage::Part)?;
    let palette = Palette::new(picture.colour, picture.accent, picture.seed);
    let mut svg = String::with_capacity(6 * 1024);
    svg.push_str(r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 800" width="800" height="800">"#);
    fill(&backdrop::draw(fragment.stage, fragment.shadow, picture.seed), &palette, picture, &mut svg);
    fill(fragment.body, &palette, picture, &mut svg);
    svg.push_str("</svg>");
    Some(svg)
}

/// Writes a fragment with colours, pattern and emblem in their places, without the line ends it is set in.
fn fill(text: &str, palette: &Palette, picture: &Picture, svg: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        push_joined(svg, &rest[..at]);
        let Some(end) = rest[at..].find('}') else { break };
        match &rest[at + 1..at + end] {
            "p" => fill(part(picture.motif), palette, picture, svg),
            "e" => fill(part(picture.emblem), palette, picture, svg),
            place => svg.push_str(&palette.get(place).to_string()),
        }
        rest = &rest[at + end + 1..];
    }
    push_joined(svg, rest);
}

fn push_joined(svg: &mut String, text: &str) {
    svg.extend(text.lines());
}

/// Splits a file at its headings, `<!-- kind stage shadow -->`.
fn fragments(file: &'static str) -> Vec<(&'static str, Fragment)> {
    let mut found = Vec::new();
    for section in file.split("<!-- ").skip(1) {
        let Some((heading, body)) = section.split_once(" -->") else { continue };
        let words: Vec<&'static str> = heading.split(' ').collect();
        let [kind, stage, shadow] = words[..] else { continue };
        let stage = match stage {
            "table" => Stage::Table,
            "wall" => Stage::Wall,
            _ => Stage::Part,
        };
        found.push((kind, Fragment { stage, shadow: shadow.parse().unwrap_or(0), body: body.trim() }));
    }
    found
}

/// Mixes a text into 64 bits (FNV-1a, then a finishing shuffle), the same on every machine.
pub(crate) fn hash(text: &str) -> u64 {
    let folded = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mixed = (folded ^ (folded >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(kind: &str) -> Picture<'_> {
        Picture { kind, colour: Colour(0x2f, 0x6f, 0x9f), accent: None, motif: "waves", emblem: "duck", seed: kind }
    }

    #[test]
    fn every_kind_is_drawn_small_whole_and_without_open_places() {
        assert!(kinds().len() >= 60, "{} kinds", kinds().len());
        for kind in kinds() {
            let svg = draw(&picture(kind)).unwrap();
            assert!(svg.len() < 8 * 1024, "{kind} takes {} bytes", svg.len());
            assert!(!svg.contains('{') && !svg.contains('}'), "{kind} has an open place");
            assert_eq!(svg.matches("<g").count(), svg.matches("</g>").count(), "{kind}");
            assert_eq!(svg.matches('<').count(), svg.matches('>').count(), "{kind}");
        }
    }

    #[test]
    fn no_two_fragments_share_a_name() {
        let headings: usize = FILES.iter().map(|file| fragments(file).len()).sum();
        assert_eq!(FRAGMENTS.len(), headings);
        assert_eq!(
            headings,
            FILES.iter().map(|file| file.matches("<!-- ").count()).sum::<usize>(),
            "a heading cannot be read"
        );
    }

    #[test]
    fn the_same_slug_is_the_same_picture_and_another_colour_is_another_one() {
        assert_eq!(draw(&picture("mug")), draw(&picture("mug")));
        let red = Picture { colour: Colour(0xc0, 0x40, 0x30), ..picture("mug") };
        assert_ne!(draw(&picture("mug")), draw(&red));
        assert_eq!(draw(&picture("hovercraft")), None);
    }
}
