//! What a flow has been through, kept in its row and bounded: one line per step, written by the statement that writes the step.

use mallard_types::Micros;

/// Characters of a state or an error that are kept.
const TEXT_CHARS_MAX: usize = 200;

/// Sets the history in an `UPDATE`, with the new line as its one parameter. A history over 4,000 characters loses its older
/// half first, so it stays below about 4,300.
macro_rules! noted {
    () => {
        "history = CASE WHEN LENGTH(history) > 4000 THEN SUBSTR(history, LENGTH(history) - 1999) ELSE history END || ?"
    };
}
pub(crate) use noted;

/// What happened in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// It reached a state.
    State,
    /// Its step failed and is tried again. Of many failures in a row the 1st, 2nd, 4th, 8th and so on are kept.
    Failed,
    /// It waits for a person.
    Stuck,
    /// A person let it go on.
    Freed,
}

impl Happened {
    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Happened::State => "state",
            Happened::Failed => "failed",
            Happened::Stuck => "stuck",
            Happened::Freed => "freed",
        }
    }

    fn parse(word: &str) -> Option<Happened> {
        [Happened::State, Happened::Failed, Happened::Stuck, Happened::Freed].into_iter().find(|it| it.as_str() == word)
    }
}

/// One step of a flow's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// When it was saved.
    pub at: Micros,
    /// What happened.
    pub what: Happened,
    /// The state, JSON, or the error or reason; shortened.
    pub text: String,
}

/// Writes a line.
pub(crate) fn line(at: Micros, what: Happened, text: &str) -> String {
    let text: String = text.chars().take(TEXT_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("{at}\t{}\t{text}\n", what.as_str())
}

/// Writes the line of a failure, or nothing for one between two that are kept.
pub(crate) fn failure(at: Micros, attempts: u32, error: &str) -> String {
    if attempts.is_power_of_two() { line(at, Happened::Failed, error) } else { String::new() }
}

/// Reads a history, oldest first. What is no line, as the first may be after a cut, is left out.
pub(crate) fn read(history: &str) -> Vec<Step> {
    let step = |line: &str| {
        let mut parts = line.splitn(3, '\t');
        let at = parts.next()?.parse().ok()?;
        Some(Step { at, what: Happened::parse(parts.next()?)?, text: parts.next()?.to_owned() })
    };
    history.lines().filter_map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_were_written() {
        let text = format!("{}{}", line(7, Happened::State, "{\"Wait\":1}"), failure(9, 2, "no\tanswer\nyet"));
        let steps = read(&text);
        assert_eq!(steps[0], Step { at: 7, what: Happened::State, text: "{\"Wait\":1}".into() });
        assert_eq!(steps[1], Step { at: 9, what: Happened::Failed, text: "no answer yet".into() });
        assert_eq!(failure(9, 3, "again"), "");
        assert_eq!(read(&format!("34\"}}\n{text}")).len(), 2);
        assert_eq!(read(&line(1, Happened::Stuck, &"x".repeat(900)))[0].text.len(), TEXT_CHARS_MAX);
    }
}
