//! Patterns and small drawings that a product may wear.

/// Returns the pattern of a name, as a rectangle over the whole picture; the body clips it. Nothing for no name.
pub(super) fn motif(name: &str) -> &'static str {
    match name {
        "stripes" => r##"<pattern id="p" width="80" height="64" patternUnits="userSpaceOnUse"><rect width="80" height="24" fill="{a}"/></pattern><rect width="800" height="800" fill="url(#p)"/>"##,
        "pinstripe" => r##"<pattern id="p" width="34" height="34" patternUnits="userSpaceOnUse"><rect width="7" height="34" fill="{l}"/></pattern><rect width="800" height="800" fill="url(#p)"/>"##,
        "dots" => r##"<pattern id="p" width="64" height="64" patternUnits="userSpaceOnUse"><circle cx="16" cy="16" r="10" fill="{a}"/><circle cx="48" cy="48" r="10" fill="{a}"/></pattern><rect width="800" height="800" fill="url(#p)"/>"##,
        "check" => r##"<pattern id="p" width="72" height="72" patternUnits="userSpaceOnUse"><path d="M0 0h36v72H0z" fill="{d}" opacity=".6"/><path d="M0 0h72v36H0z" fill="{l}" opacity=".6"/><path d="M54 0h6v72h-6zM0 54h72v6H0z" fill="{a}" opacity=".8"/></pattern><rect width="800" height="800" fill="url(#p)"/>"##,
        "waves" => r##"<pattern id="p" width="96" height="52" patternUnits="userSpaceOnUse"><path d="M0 26q24-34 48 0t48 0" fill="none" stroke="{l}" stroke-width="10"/></pattern><rect width="800" height="800" fill="url(#p)"/>"##,
        "leaves" => r##"<pattern id="p" width="104" height="104" patternUnits="userSpaceOnUse"><path d="M22 52q8-38 46-38-2 36-46 38zM98 96q-36 6-42-24 32-6 42 24z" fill="{a}" opacity=".85"/></pattern><rect width="800" height="800" fill="url(#p)"/>"##,
        "speckle" => r##"<pattern id="p" width="90" height="90" patternUnits="userSpaceOnUse"><g fill="{D}" opacity=".55"><circle cx="14" cy="20" r="4"/><circle cx="52" cy="10" r="3"/><circle cx="78" cy="40" r="5"/><circle cx="34" cy="54" r="3"/><circle cx="62" cy="76" r="4"/><circle cx="12" cy="80" r="3"/></g></pattern><rect width="800" height="800" fill="url(#p)"/>"##,
        "glaze" => r##"<path d="M0 0h800v430q-40 60-80 0t-80 10-80-10-80 20-80-20-80 10-80-20-80 20-80-10-80 10-80-20z" fill="{a}"/>"##,
        "band" => r##"<path d="M0 470h800v70H0z" fill="{a}"/><path d="M0 452h800v8H0zM0 550h800v8H0z" fill="{a}" opacity=".6"/>"##,
        "zigzag" => r##"<pattern id="p" width="80" height="120" patternUnits="userSpaceOnUse"><path d="M0 60l40-40 40 40" fill="none" stroke="{a}" stroke-width="14"/><path d="M0 104l40-40 40 40" fill="none" stroke="{l}" stroke-width="8"/></pattern><rect width="800" height="800" fill="url(#p)"/>"##,
        "stars" => r##"<pattern id="p" width="110" height="110" patternUnits="userSpaceOnUse"><path d="M30 8q5 19 24 24-19 5-24 24-5-19-24-24 19-5 24-24zM84 66q3 12 15 15-12 3-15 15-3-12-15-15 12-3 15-15z" fill="{a}"/></pattern><rect width="800" height="800" fill="url(#p)"/>"##,
        _ => "",
    }
}

/// Returns the small drawing of a name, within 70 of its middle. Nothing for no name.
pub(super) fn emblem(name: &str) -> &'static str {
    match name {
        "duck" => r##"<path d="M-62 12q44 14 70-22 2-44 36-44 30 0 32 28l22 10-24 8q0 58-62 60-58 2-74-40z" fill="{a}"/><path d="M-30 14q34 22 62-4-8 36-34 36t-28-32z" fill="{A}"/><circle cx="50" cy="-28" r="6" fill="{k}"/>"##,
        "mountain" => r##"<circle cx="30" cy="-38" r="22" fill="{a}"/><path d="M-70 46l46-84 30 48 20-28 44 64z" fill="{w}"/><path d="M-24-38l18 29-14 10-12-8-12 6z" fill="{a}"/>"##,
        "leaf" => r##"<path d="M-50 56q-20-104 104-112 6 112-82 104l-22 22" fill="{a}"/><path d="M-58 66q30-60 84-94" fill="none" stroke="{A}" stroke-width="7" stroke-linecap="round"/>"##,
        "sun" => r##"<circle r="32" fill="{a}"/><path d="M0-66v20M0 46v20M-66 0h20M46 0h20M-47-47l14 14M33 33l14 14M-47 47l14-14M33-33l14-14" stroke="{a}" stroke-width="10" stroke-linecap="round"/>"##,
        "moon" => r##"<path d="M14-62a64 64 0 1 0 48 94 52 52 0 0 1-48-94z" fill="{a}"/><circle cx="44" cy="-30" r="7" fill="{a}"/><circle cx="62" cy="-2" r="4" fill="{a}"/>"##,
        "flower" => r##"<g fill="{a}"><circle cy="-36" r="24"/><circle cx="34" cy="-11" r="24"/><circle cx="21" cy="29" r="24"/><circle cx="-21" cy="29" r="24"/><circle cx="-34" cy="-11" r="24"/></g><circle r="19" fill="{w}"/>"##,
        "fish" => r##"<path d="M-66 0q50-58 104-6l30-26v64l-30-26q-54 52-104-6z" fill="{a}"/><circle cx="-34" cy="-6" r="6" fill="{k}"/><path d="M-8-22q14 22 0 44" fill="none" stroke="{A}" stroke-width="7"/>"##,
        "wave" => r##"<path d="M-66 34q0-84 70-84 40 0 44 32-16-14-34-6 30 12 30 42 16 8 26-2v30q-68 14-136-12z" fill="{a}"/>"##,
        "bird" => r##"<path d="M-68 16q40-10 52-44 26-24 56-4l28 2-22 18q-4 50-56 50-34 0-58-22z" fill="{a}"/><path d="M-26 8q28-26 50 2-20 22-50-2z" fill="{A}"/><circle cx="32" cy="-20" r="5" fill="{k}"/>"##,
        "house" => r##"<path d="M-58-4L0-58 58-4v60H-58z" fill="{a}"/><path d="M-14 56V16h28v40zM22-2h22v20H22z" fill="{w}"/>"##,
        "cat" => r##"<path d="M-46 56V-50l28 24h36l28-24V56q-46 18-92 0z" fill="{a}"/><circle cx="-18" cy="4" r="7" fill="{k}"/><circle cx="18" cy="4" r="7" fill="{k}"/><path d="M-8 22q8 8 16 0" fill="none" stroke="{k}" stroke-width="5" stroke-linecap="round"/>"##,
        "tea" => r##"<path d="M-50-10H42v20q0 44-46 44T-50 10zM42-2h10a20 20 0 0 1 0 40H38" fill="{a}"/><path d="M-26-26q-10-14 0-30M0-26q-10-14 0-30M24-26q-10-14 0-30" fill="none" stroke="{a}" stroke-width="7" stroke-linecap="round"/>"##,
        _ => "",
    }
}
