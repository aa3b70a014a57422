//! Rooms behind the products.

use super::{Stage, hash};

/// Draws wall, shape, table and shadow for a seed.
pub(super) fn draw(stage: Stage, shadow: i32, seed: &str) -> String {
    let seed = hash(seed) >> 7;
    let shapes: &[&str] = match stage {
        Stage::Table => &TABLE_SHAPES,
        Stage::Wall | Stage::Part => &WALL_SHAPES,
    };
    // The remainder is below the length.
    let shape = shapes[(seed % shapes.len() as u64) as usize];
    let sparks = SPARKS[((seed >> 9) % SPARKS.len() as u64) as usize];
    let mut room = format!(r#"<rect width="800" height="800" fill="{{1}}"/>{shape}{sparks}"#);
    if stage == Stage::Table {
        room.push_str(
            r#"<rect y="612" width="800" height="188" fill="{3}"/><rect y="612" width="800" height="8" fill="{4}"/>"#,
        );
        if shadow > 0 {
            room.push_str(&format!(r#"<ellipse cx="410" cy="654" rx="{shadow}" ry="20" fill="{{5}}" opacity=".55"/>"#));
        }
    }
    room
}

const TABLE_SHAPES: [&str; 7] = [
    r#"<circle cx="400" cy="370" r="285" fill="{2}"/>"#,
    r#"<path d="M170 620V375a230 230 0 0 1 460 0v245z" fill="{2}"/><path d="M210 620V375a190 190 0 0 1 380 0v245z" fill="{1}" opacity=".5"/>"#,
    r#"<circle cx="585" cy="235" r="120" fill="{6}"/><path d="M0 620V500q140-120 300-40t300-60q120-60 200 20v200z" fill="{2}"/>"#,
    r#"<rect x="90" y="90" width="330" height="400" rx="14" fill="{2}"/><path d="M255 90v400M90 290h330" stroke="{1}" stroke-width="16"/><path d="M560 620l-90-530h150l150 530z" fill="{2}" opacity=".55"/>"#,
    r#"<circle cx="300" cy="330" r="220" fill="{2}"/><circle cx="560" cy="430" r="170" fill="{6}" opacity=".55"/>"#,
    r#"<path d="M0 120h800v90H0zM0 300h800v90H0zM0 480h800v90H0z" fill="{2}" opacity=".6"/>"#,
    r#"<path d="M120 0h90v620h-90zM300 0h90v620h-90zM480 0h90v620h-90zM660 0h90v620h-90z" fill="{2}" opacity=".5"/>"#,
];

const WALL_SHAPES: [&str; 5] = [
    r#"<circle cx="400" cy="400" r="330" fill="{2}"/>"#,
    r#"<rect x="90" y="90" width="620" height="620" rx="90" fill="{2}"/>"#,
    r#"<circle cx="300" cy="310" r="250" fill="{2}"/><circle cx="560" cy="520" r="200" fill="{6}" opacity=".5"/>"#,
    r#"<path d="M0 560q200-130 400-60t400-90v390H0z" fill="{2}"/><circle cx="620" cy="190" r="95" fill="{6}" opacity=".7"/>"#,
    r#"<path d="M400 60c190-10 330 130 330 320S610 740 400 740 60 590 70 390 210 70 400 60z" fill="{2}"/>"#,
];

const SPARKS: [&str; 4] = [
    r#"<g fill="{6}"><circle cx="96" cy="150" r="12"/><circle cx="706" cy="118" r="18"/><circle cx="732" cy="470" r="10"/><circle cx="70" cy="430" r="16"/></g>"#,
    r#"<g stroke="{6}" stroke-width="9" stroke-linecap="round"><path d="M110 118v36M92 136h36M700 190v28M686 204h28M690 520v24M678 532h24M80 470v24M68 482h24"/></g>"#,
    r#"<g fill="{6}"><path d="M690 120q8 28 36 36-28 8-36 36-8-28-36-36 28-8 36-36zM104 210q6 20 26 26-20 6-26 26-6-20-26-26 20-6 26-26zM96 500q4 14 18 18-14 4-18 18-4-14-18-18 14-4 18-18z"/></g>"#,
    r#"<g fill="none" stroke="{6}" stroke-width="8" stroke-linecap="round"><path d="M70 150q20-22 40 0t40 0M650 100q20-22 40 0t40 0M670 490q16-18 32 0t32 0"/></g>"#,
];
