//! A unit of work as data: statements that are written together or not at all, with nothing to decide in between.

use crate::Value;

/// How often a guarded statement must match, and the caller's name for its refusal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guard {
    pub(crate) expected_rows: u64,
    pub(crate) tag: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct Statement {
    /// Position in the order of adding.
    pub(crate) index: usize,
    pub(crate) sql: Text,
    pub(crate) params: Vec<Value>,
    pub(crate) guard: Option<Guard>,
    key: Option<String>,
}

/// The text of a statement: written in the program, or put together while it runs.
#[derive(Clone, Debug)]
pub(crate) enum Text {
    Static(&'static str),
    Dynamic(String),
}

impl Text {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Text::Static(sql) => sql,
            Text::Dynamic(sql) => sql,
        }
    }
}

/// A unit of work as data. It travels to SQLite in one hop and to PostgreSQL in one pipelined flight; see [`crate::Db::apply`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Unit {
    pub(crate) name: &'static str,
    pub(crate) statements: Vec<Statement>,
    pub(crate) wakes: Vec<&'static str>,
}

impl Unit {
    /// Begins an empty unit; the name stands in metrics and reaches the fault hook.
    pub fn new(name: &'static str) -> Unit {
        Unit { name, statements: Vec::new(), wakes: Vec::new() }
    }

    /// Adds a statement that may change any number of rows.
    pub fn exec(self, sql: &'static str, params: Vec<Value>) -> Unit {
        self.add(Text::Static(sql), params, None)
    }

    /// Adds a statement whose text was put together while running, such as an insert of many rows.
    pub fn exec_dyn(self, sql: String, params: Vec<Value>) -> Unit {
        self.add(Text::Dynamic(sql), params, None)
    }

    /// Adds a statement that must change exactly `expected_rows` rows, or the whole unit is refused with `tag`.
    pub fn guard(self, sql: &'static str, params: Vec<Value>, expected_rows: u64, tag: u32) -> Unit {
        self.add(Text::Static(sql), params, Some(Guard { expected_rows, tag }))
    }

    /// Gives the statement added last a sort key. Statements with a key run in the order of their keys (in the places they
    /// take together), so that units which touch the same rows lock them in the same order and never deadlock.
    pub fn order_by_key(mut self, key: impl Into<String>) -> Unit {
        if let Some(last) = self.statements.last_mut() {
            last.key = Some(key.into());
        }
        self
    }

    /// Wakes the listeners of `topic` once the unit is committed.
    pub fn wake(mut self, topic: &'static str) -> Unit {
        self.wakes.push(topic);
        self
    }

    /// Returns the name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Counts the statements.
    pub fn len(&self) -> usize {
        self.statements.len()
    }

    /// Tells whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.statements.is_empty()
    }

    fn add(mut self, sql: Text, params: Vec<Value>, guard: Option<Guard>) -> Unit {
        let index = self.statements.len();
        self.statements.push(Statement { index, sql, params, guard, key: None });
        self
    }

    /// Brings the statements into the order in which they run.
    pub(crate) fn sorted(mut self) -> Unit {
        let places: Vec<usize> = (0..self.statements.len()).filter(|i| self.statements[*i].key.is_some()).collect();
        if places.len() < 2 {
            return self;
        }
        let mut keyed: Vec<Statement> = places.iter().map(|i| self.statements[*i].clone()).collect();
        keyed.sort_by(|a, b| a.key.cmp(&b.key));
        for (place, statement) in places.into_iter().zip(keyed) {
            self.statements[place] = statement;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params;

    #[test]
    fn statements_with_keys_are_sorted_among_their_own_places() {
        let unit = Unit::new("t")
            .exec("a", params![])
            .guard("b", params![], 1, 1)
            .order_by_key("z")
            .exec("c", params![])
            .guard("d", params![], 1, 2)
            .order_by_key("m")
            .sorted();
        let order: Vec<(usize, &str)> = unit.statements.iter().map(|s| (s.index, s.sql.as_str())).collect();
        assert_eq!(order, [(0, "a"), (3, "d"), (2, "c"), (1, "b")]);
    }
}
