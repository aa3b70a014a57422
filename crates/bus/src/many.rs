//! Statements about many rows, in few texts, so that prepared statements stay few.

use mallard_db::Value;

/// Most rows named by one statement.
pub(crate) const MANY_MAX: usize = 256;

/// Puts `?, ?, …` in place of `{}` and fills the parameters up to a power of two by repeating the last, which changes
/// nothing in an `IN` list. `values` must not be empty nor longer than [`MANY_MAX`].
pub(crate) fn in_list(sql: &str, mut values: Vec<Value>) -> (String, Vec<Value>) {
    let count = values.len().next_power_of_two();
    if let Some(last) = values.last().cloned() {
        values.resize(count, last);
    }
    let marks = vec!["?"; count].join(", ");
    (sql.replacen("{}", &marks, 1), values)
}

/// Puts `rows` times `(?, ?, …)` in place of `{}` and fills the rows up to a power of two by repeating the last, which changes
/// nothing in an insert that ignores what is there. `rows` must not be empty.
pub(crate) fn row_list(sql: &str, mut rows: Vec<Vec<Value>>) -> (String, Vec<Value>) {
    let count = rows.len().next_power_of_two();
    let width = rows.first().map_or(0, Vec::len);
    if let Some(last) = rows.last().cloned() {
        rows.resize(count, last);
    }
    let row = format!("({})", vec!["?"; width].join(", "));
    (sql.replacen("{}", &vec![row.as_str(); count].join(", "), 1), rows.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_filled_up_to_a_power_of_two() {
        let (sql, values) = in_list("DELETE FROM t WHERE n IN ({})", vec![Value::Int(1), Value::Int(2), Value::Int(3)]);
        assert_eq!(sql, "DELETE FROM t WHERE n IN (?, ?, ?, ?)");
        assert_eq!(values, [1, 2, 3, 3].map(Value::Int));
        assert_eq!(in_list("({})", vec![Value::Int(1)]).0, "(?)");
    }

    #[test]
    fn rows_are_filled_up_to_a_power_of_two() {
        let rows = [1, 2, 3].map(|n| vec![Value::Int(n), Value::Int(0)]).to_vec();
        let (sql, values) = row_list("INSERT INTO t VALUES {}", rows);
        assert_eq!(sql, "INSERT INTO t VALUES (?, ?), (?, ?), (?, ?), (?, ?)");
        assert_eq!(values, [1, 0, 2, 0, 3, 0, 3, 0].map(Value::Int));
    }
}
