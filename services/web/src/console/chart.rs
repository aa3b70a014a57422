//! Charts, drawn on the server. A chart can be read without colour: every axis has its numbers, the highest bar says what it
//! is, what was given back is hatched, and the same numbers stand in a table beside it.

use std::fmt::Write;

use crate::domain::round_up;

/// Size of the drawing in its own units; the stylesheet fits it to the screen.
const WIDTH: i64 = 400;
const HEIGHT: i64 = 210;
/// Left of it the axis says its numbers; further right where they are long.
const LEFT: i64 = 84;
/// Widest a character of the axis, and half a character of the highest bar's number, are drawn.
const CHARACTER: i64 = 7;
const HALF_CHARACTER: i64 = 4;
const RIGHT: i64 = 392;
const TOP: i64 = 34;
const BOTTOM: i64 = 182;
const BARS_MAX: usize = 400;

/// One bar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bar {
    /// What it stands for, e.g. a day.
    pub label: String,
    /// Its height; nothing below zero is drawn.
    pub value: i64,
    /// The value for people.
    pub shown: String,
    /// Height of the hatched bar beside it, 0 for none.
    pub back: i64,
    /// That value for people.
    pub back_shown: String,
}

/// A chart of bars.
pub struct Chart<'a> {
    /// Id of the drawing in its page, letters and hyphens.
    pub id: &'a str,
    /// What it shows, for who cannot see it.
    pub title: &'a str,
    /// The highest value for people, written at the top line.
    pub bars: &'a [Bar],
    /// Writes a value at the axis.
    pub axis: &'a dyn Fn(i64) -> String,
}

/// Draws a chart as an SVG element; nothing when there are no bars.
pub fn draw(chart: &Chart) -> String {
    let bars = &chart.bars[..chart.bars.len().min(BARS_MAX)];
    if bars.is_empty() {
        return String::new();
    }
    let most = bars.iter().flat_map(|bar| [bar.value, bar.back]).max().unwrap_or(0);
    let (top, has_values) = (round_up(most), most > 0);
    let marks =
        [(top, TOP), (top / 2, (TOP + BOTTOM) / 2), (0, BOTTOM)].map(|(value, y)| (value, y, (chart.axis)(value)));
    let longest = marks.iter().map(|(_, _, label)| characters(label)).max().unwrap_or(0);
    let left = LEFT.max(10 + CHARACTER * longest);
    let (id, title) = (escaped(chart.id), escaped(chart.title));
    let mut out = String::with_capacity(512 + bars.len() * 200);
    // Writing into a string cannot fail.
    let _ = write!(
        out,
        "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"{id}-title\">\
         <title id=\"{id}-title\">{title}</title>\
         <defs><pattern id=\"{id}-hatch\" width=\"4\" height=\"4\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
         <path class=\"hatch\" d=\"M0 0V4\"/></pattern></defs>"
    );
    for (value, y, label) in marks {
        let _ = write!(out, "<path class=\"grid-line\" d=\"M{left} {y}H{RIGHT}\"/>");
        if value > 0 && has_values {
            let _ = write!(
                out,
                "<text class=\"axis\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
                left - 6,
                y + 4,
                escaped(&label)
            );
        }
    }
    let count = i64::try_from(bars.len()).unwrap_or(1);
    let highest = bars.iter().enumerate().max_by_key(|(i, bar)| (bar.value, std::cmp::Reverse(*i))).map(|(i, _)| i);
    for (i, bar) in bars.iter().enumerate() {
        let at = i64::try_from(i).unwrap_or(0);
        let (from, to) = (place(left, at, count), place(left, at + 1, count));
        let slot = to - from;
        let hint = match bar.back > 0 {
            true => format!("{}: {} / −{}", bar.label, bar.shown, bar.back_shown),
            false => format!("{}: {}", bar.label, bar.shown),
        };
        let _ = write!(out, "<g><title>{}</title>", escaped(&hint));
        let (wide, narrow) = if bar.back > 0 { (slot * 5 / 10, slot * 3 / 10) } else { (slot * 7 / 10, 0) };
        rect(&mut out, "bar", "", from, wide.max(1), height(bar.value, top));
        if bar.back > 0 {
            let fill = format!(" fill=\"url(#{id}-hatch)\"");
            rect(&mut out, "bar-back", &fill, from + wide.max(1), narrow.max(1), height(bar.back, top));
        }
        out.push_str("</g>");
        if Some(i) == highest && bar.value > 0 {
            let half = HALF_CHARACTER * characters(&bar.shown);
            let x = (from + slot / 2).max(left + half).min(WIDTH - half);
            let y = (BOTTOM - height(bar.value, top) - 5).max(12);
            let _ = write!(out, "<text class=\"peak\" x=\"{x}\" y=\"{y}\">{}</text>", escaped(&bar.shown));
        }
    }
    let last = bars.len() - 1;
    for (i, anchor) in [(0, "start"), (last / 2, "middle"), (last, "end")] {
        if (i > 0 || anchor == "start") && (anchor != "middle" || bars.len() > 4) {
            let at = i64::try_from(i).unwrap_or(0);
            let x = match anchor {
                "start" => left,
                "end" => RIGHT,
                _ => (place(left, at, count) + place(left, at + 1, count)) / 2,
            };
            let label = escaped(&bars[i].label);
            let _ = write!(
                out,
                "<text class=\"axis\" x=\"{x}\" y=\"{}\" text-anchor=\"{anchor}\">{label}</text>",
                BOTTOM + 18
            );
        }
    }
    out.push_str("</svg>");
    out
}

fn place(left: i64, index: i64, count: i64) -> i64 {
    left + (RIGHT - left) * index / count.max(1)
}

fn characters(text: &str) -> i64 {
    i64::try_from(text.chars().count()).unwrap_or(0)
}

fn height(value: i64, top: i64) -> i64 {
    let scaled = i128::from(value.max(0)) * i128::from(BOTTOM - TOP) / i128::from(top.max(1));
    // What is there is seen, however small.
    i64::try_from(scaled).unwrap_or(BOTTOM - TOP).max(i64::from(value > 0) * 2)
}

fn rect(out: &mut String, class: &str, fill: &str, x: i64, width: i64, height: i64) {
    let y = BOTTOM - height;
    let _ = write!(out, "<rect class=\"{class}\"{fill} x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"/>");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(label: &str, value: i64, back: i64) -> Bar {
        Bar { label: label.into(), value, shown: format!("¥{value}"), back, back_shown: format!("¥{back}") }
    }

    fn drawn(bars: &[Bar]) -> String {
        draw(&Chart { id: "sales", title: "Sales <30 days>", bars, axis: &|value| format!("¥{value}") })
    }

    #[test]
    fn every_bar_says_its_number_and_the_axis_says_its_own() {
        let svg = drawn(&[bar("1 Nov", 120, 0), bar("2 Nov", 480, 30), bar("3 Nov", 0, 0)]);
        assert!(
            svg.contains("<title>1 Nov: ¥120</title>") && svg.contains("<title>2 Nov: ¥480 / −¥30</title>"),
            "{svg}"
        );
        assert!(svg.contains(">¥500</text>") && svg.contains(">¥250</text>"), "{svg}");
        assert!(svg.contains("class=\"peak\"") && svg.contains(">¥480</text>"));
        assert!(svg.contains(">1 Nov</text>") && svg.contains(">3 Nov</text>"));
        // What was given back differs by its pattern, not by its colour.
        assert_eq!(svg.matches("url(#sales-hatch)").count(), 1);
        assert!(svg.contains("role=\"img\"") && svg.contains("Sales &lt;30 days&gt;"));
        // The policy of contents forbids styles and scripts inside.
        assert!(!svg.contains("style=") && !svg.contains("<script"));
    }

    #[test]
    fn bars_are_as_high_as_their_values_and_stay_inside() {
        let svg = drawn(&[bar("a", 100, 0), bar("b", 50, 0), bar("c", -5, 0), bar("d", 1, 0)]);
        let heights: Vec<i64> = svg
            .split("height=\"")
            .filter_map(|rest| rest.split_once("\"/>").map(|(value, _)| value))
            .filter_map(|value| value.parse().ok())
            .collect();
        assert_eq!(heights, [148, 74, 0, 2]);
        let huge = drawn(&[bar("a", i64::MAX, i64::MAX)]);
        assert!(!huge.contains("height=\"-") && !huge.contains("y=\"-"), "{huge}");
    }

    #[test]
    fn no_bar_and_no_number_is_drawn_over_the_numbers_of_the_axis() {
        let svg = drawn(&[bar("1 Nov", 500, 500), bar("2 Nov", 500, 0), bar("3 Nov", 1, 0)]);
        let value = |text: &str| text.split('"').next().unwrap().parse::<i64>().unwrap();
        for class in ["bar\"", "bar-back\""] {
            for rect in svg.split(&format!("<rect class=\"{class}")).skip(1) {
                assert!(value(rect.split(" x=\"").nth(1).unwrap()) >= LEFT, "{svg}");
            }
        }
        // The numbers end before the bars begin.
        let numbers: Vec<&str> = svg.split("class=\"axis\" x=\"").filter(|text| text.contains("\"end\">¥")).collect();
        assert_eq!(numbers.len(), 2, "{svg}");
        assert!(numbers.iter().all(|number| value(number) < LEFT), "{svg}");
        // The number of the highest bar is centred: its half that goes left fits.
        assert!(value(svg.split("class=\"peak\" x=\"").nth(1).unwrap()) >= LEFT + 4 * 4, "{svg}");
    }

    #[test]
    fn the_numbers_of_tens_of_millions_are_not_cut_at_either_edge() {
        let days: Vec<Bar> = (0..30).map(|day| bar("1 Nov", if day == 29 { 2_999_999_999 } else { 5 }, 0)).collect();
        let money = |value: i64| format!("¥{}.00", value / 100);
        for days in [&days[..], &days[29..], &[&days[29..], &days[..29]].concat()] {
            let days: Vec<Bar> = days.iter().map(|bar| Bar { shown: money(bar.value), ..bar.clone() }).collect();
            let svg = draw(&Chart { id: "sales", title: "Sales", bars: &days, axis: &money });
            let mut left = 0;
            for text in svg.split("class=\"axis\" x=\"").filter(|text| text.contains("\"end\">¥")) {
                let x: i64 = text.split('"').next().unwrap().parse().unwrap();
                let label = text.split('>').nth(1).unwrap().split('<').next().unwrap();
                assert!(x - CHARACTER * characters(label) >= 0, "{label} at {x}: {svg}");
                left = x;
            }
            let peak = svg.split("class=\"peak\" x=\"").nth(1).unwrap();
            let x: i64 = peak.split('"').next().unwrap().parse().unwrap();
            let half = HALF_CHARACTER * characters("¥29999999.99");
            assert!(x - half > left && x + half <= WIDTH, "{x}: {svg}");
            assert!(svg.split("<rect class=\"bar\"").skip(1).all(|rect| {
                rect.split(" x=\"").nth(1).and_then(|x| x.split('"').next()?.parse::<i64>().ok()).unwrap() > left
            }));
        }
    }

    #[test]
    fn nothing_sold_is_drawn_as_nothing_and_no_days_as_no_chart() {
        let svg = drawn(&[bar("1 Nov", 0, 0), bar("2 Nov", 0, 0)]);
        assert!(!svg.contains("class=\"peak\"") && !svg.contains(">¥1</text>") && svg.contains("height=\"0\""));
        assert_eq!(drawn(&[]), "");
    }
}
