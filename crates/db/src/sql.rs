//! The portable dialect: splits scripts, numbers placeholders and translates the three column types.

/// Pieces of a statement: code, or text that must stay as it is (quoted texts, names, comments).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece<'a> {
    Code(&'a str),
    Verbatim(&'a str),
    Comment(&'a str),
}

fn pieces(sql: &str) -> Vec<Piece<'_>> {
    let bytes = sql.as_bytes();
    let mut out = Vec::new();
    let mut code_from = 0;
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            quote @ (b'\'' | b'"') => quoted_end(bytes, at, quote),
            b'-' if bytes.get(at + 1) == Some(&b'-') => find(bytes, at, b"\n"),
            b'/' if bytes.get(at + 1) == Some(&b'*') => find(bytes, at + 2, b"*/"),
            _ => {
                at += 1;
                continue;
            }
        };
        if code_from < at {
            out.push(Piece::Code(&sql[code_from..at]));
        }
        let text = &sql[at..end];
        out.push(if matches!(bytes[at], b'\'' | b'"') { Piece::Verbatim(text) } else { Piece::Comment(text) });
        at = end;
        code_from = end;
    }
    if code_from < bytes.len() {
        out.push(Piece::Code(&sql[code_from..]));
    }
    out
}

/// Finds the end of a quoted text; a doubled quote reads as an end and a new beginning, which is the same to us.
fn quoted_end(bytes: &[u8], from: usize, quote: u8) -> usize {
    bytes[from + 1..].iter().position(|b| *b == quote).map_or(bytes.len(), |i| from + 1 + i + 1)
}

fn find(bytes: &[u8], from: usize, end: &[u8]) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    rest.windows(end.len()).position(|w| w == end).map_or(bytes.len(), |i| from + i + end.len())
}

/// Turns `?` into `$1`, `$2`, …
pub(crate) fn numbered(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len() + 8);
    let mut n = 0;
    for piece in pieces(sql) {
        match piece {
            Piece::Verbatim(text) | Piece::Comment(text) => out.push_str(text),
            Piece::Code(code) => {
                for c in code.chars() {
                    if c == '?' {
                        n += 1;
                        out.push('$');
                        out.push_str(&n.to_string());
                    } else {
                        out.push(c);
                    }
                }
            }
        }
    }
    out
}

/// Splits a script at its semicolons, without comments and empty statements.
pub(crate) fn statements(script: &str) -> Vec<String> {
    let mut out = vec![String::new()];
    for piece in pieces(script) {
        match piece {
            Piece::Comment(_) => push(&mut out, " "),
            Piece::Verbatim(text) => push(&mut out, text),
            Piece::Code(code) => {
                for (i, part) in code.split(';').enumerate() {
                    if i > 0 {
                        out.push(String::new());
                    }
                    push(&mut out, part);
                }
            }
        }
    }
    out.into_iter().map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).collect()
}

fn push(out: &mut [String], text: &str) {
    if let Some(last) = out.last_mut() {
        last.push_str(text);
    }
}

fn starts_with(statement: &str, words: &[&str]) -> bool {
    let mut have = statement.split_whitespace();
    words.iter().all(|word| have.next().is_some_and(|h| h.eq_ignore_ascii_case(word)))
}

/// Finds words that only some engines understand, or understand in their own way.
pub(crate) fn unportable(sql: &str) -> Option<&'static str> {
    const WORDS: [&[&str]; 6] =
        [&["RETURNING"], &["FOR", "UPDATE"], &["FOR", "SHARE"], &["SKIP", "LOCKED"], &["INSERT", "OR"], &["ROWID"]];
    const NAMES: [&str; 6] = ["RETURNING", "FOR UPDATE", "FOR SHARE", "SKIP LOCKED", "INSERT OR", "rowid"];
    for piece in pieces(sql) {
        let Piece::Code(code) = piece else { continue };
        let words: Vec<&str> =
            code.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|word| !word.is_empty()).collect();
        let found = WORDS.iter().zip(NAMES).find(|(wanted, _)| {
            words
                .windows(wanted.len())
                .any(|have| have.iter().zip(wanted.iter()).all(|(h, w)| h.eq_ignore_ascii_case(w)))
        });
        if let Some((_, name)) = found {
            return Some(name);
        }
        if words.iter().any(|word| word.len() > 5 && word[..5].eq_ignore_ascii_case("json_")) {
            return Some("JSON functions");
        }
    }
    None
}

/// Translates a portable schema statement for SQLite: tables become `STRICT`, so that a text in a number column is
/// refused as it is everywhere else.
pub(crate) fn ddl_for_sqlite(statement: &str) -> String {
    if starts_with(statement, &["create", "table"]) && statement.ends_with(')') {
        return format!("{statement} STRICT");
    }
    statement.to_owned()
}

/// Translates a portable schema statement for PostgreSQL. Only the upper-case words are types, so a column may be called
/// `text`.
pub(crate) fn ddl_for_postgres(statement: &str) -> String {
    if !starts_with(statement, &["create", "table"]) && !starts_with(statement, &["alter", "table"]) {
        return statement.to_owned();
    }
    let mut out = String::with_capacity(statement.len() + 64);
    for piece in pieces(statement) {
        match piece {
            Piece::Verbatim(text) | Piece::Comment(text) => out.push_str(text),
            Piece::Code(code) => types_for_postgres(code, &mut out),
        }
    }
    out
}

fn types_for_postgres(code: &str, out: &mut String) {
    const IDENTITY: [&str; 4] = ["INTEGER", "PRIMARY", "KEY", "AUTOINCREMENT"];
    let mut rest = code;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic() || c == '_') {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        if let Some(after) = strip_words(rest, &IDENTITY) {
            out.push_str("BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY");
            rest = after;
            continue;
        }
        let (word, after) = word(rest);
        out.push_str(match word {
            "INTEGER" => "BIGINT",
            "BLOB" => "BYTEA",
            "TEXT" => "TEXT COLLATE \"C\"",
            other => other,
        });
        rest = after;
    }
    out.push_str(rest);
}

fn word(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
    text.split_at(end)
}

fn strip_words<'a>(text: &'a str, words: &[&str]) -> Option<&'a str> {
    let mut rest = text;
    for (i, wanted) in words.iter().enumerate() {
        if i > 0 {
            rest = rest.trim_start();
        }
        let (have, after) = word(rest);
        if have != *wanted {
            return None;
        }
        rest = after;
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_numbered_outside_quotes_and_comments() {
        let sql = "SELECT '?''?', \"a?\" FROM t -- why?\nWHERE a = ? AND b IN (?, ?) /* ? */";
        let expected = "SELECT '?''?', \"a?\" FROM t -- why?\nWHERE a = $1 AND b IN ($2, $3) /* ? */";
        assert_eq!(numbered(sql), expected);
    }

    #[test]
    fn a_script_is_split_at_its_own_semicolons_only() {
        let script = "CREATE TABLE a (x TEXT DEFAULT ';'); -- one; two\n;INSERT INTO a VALUES ('b;c') /* ; */;";
        assert_eq!(statements(script), ["CREATE TABLE a (x TEXT DEFAULT ';')", "INSERT INTO a VALUES ('b;c')"]);
    }

    #[test]
    fn an_unclosed_quote_or_comment_ends_with_the_text() {
        assert_eq!(numbered("a = ? AND b = 'x?"), "a = $1 AND b = 'x?");
        assert_eq!(statements("SELECT 1 /* ; "), ["SELECT 1"]);
        assert_eq!(statements("é;'ü"), ["é", "'ü"]);
    }

    #[test]
    fn types_are_translated_for_postgres() {
        let ddl = "CREATE TABLE t (id INTEGER  PRIMARY KEY AUTOINCREMENT, text TEXT NOT NULL DEFAULT 'TEXT', n INTEGER, b BLOB, PRIMARY KEY (id))";
        let expected = "CREATE TABLE t (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, text TEXT COLLATE \"C\" NOT NULL DEFAULT 'TEXT', n BIGINT, b BYTEA, PRIMARY KEY (id))";
        assert_eq!(ddl_for_postgres(ddl), expected);
        assert_eq!(ddl_for_postgres("ALTER TABLE t ADD COLUMN n INTEGER"), "ALTER TABLE t ADD COLUMN n BIGINT");
        assert_eq!(ddl_for_postgres("UPDATE t SET a = 'TEXT', TEXT = 1"), "UPDATE t SET a = 'TEXT', TEXT = 1");
    }

    #[test]
    fn what_only_some_engines_understand_is_found() {
        assert_eq!(unportable("insert or ignore into t values (1)"), Some("INSERT OR"));
        assert_eq!(unportable("SELECT 1 FROM t FOR\n  UPDATE"), Some("FOR UPDATE"));
        assert_eq!(unportable("SELECT json_extract(a, '$') FROM t"), Some("JSON functions"));
        assert_eq!(unportable("UPDATE t SET a = 'RETURNING' WHERE for_update = 1 OR b = 2 -- rowid"), None);
    }

    #[test]
    fn tables_are_strict_on_sqlite() {
        assert_eq!(ddl_for_sqlite("CREATE TABLE t (a TEXT)"), "CREATE TABLE t (a TEXT) STRICT");
        assert_eq!(ddl_for_sqlite("create  table t (a TEXT) WITHOUT ROWID"), "create  table t (a TEXT) WITHOUT ROWID");
        assert_eq!(ddl_for_sqlite("CREATE INDEX i ON t (a)"), "CREATE INDEX i ON t (a)");
    }
}
