//! Units of work as data.

use mallard_db::{Error, Unit, UnitError, params};

use super::{ADD_SALE, Fixture, TAKE_ONE, count, left, stocked};

pub async fn a_unit_is_written_as_a_whole(fixture: Fixture) {
    let db = stocked(&fixture, "tea", 5).await;
    let before = db.statements();
    let unit = Unit::new("t.buy")
        .exec(ADD_SALE, params!["1", "tea", "ann"])
        .guard(TAKE_ONE, params!["tea"], 1, 7)
        .exec_dyn("UPDATE sales SET note = ? WHERE id IN (?, ?)".to_owned(), params!["ok", "1", "2"]);
    assert_eq!(db.apply(unit).await, Ok(()));
    assert_eq!(db.statements() - before, 3);
    assert_eq!(left(&db, "tea").await, 4);
    assert_eq!(count(&db, "SELECT COUNT(*) FROM sales WHERE note = 'ok'").await, 1);
    assert_eq!(db.apply(Unit::new("t.nothing")).await, Ok(()));
}

pub async fn a_refused_guard_rolls_everything_back(fixture: Fixture) {
    let db = stocked(&fixture, "tea", 1).await;
    let unit = |id: &'static str| {
        Unit::new("t.buy").exec(ADD_SALE, params![id, "tea", id]).guard(TAKE_ONE, params!["tea"], 1, 7).guard(
            TAKE_ONE,
            params!["nothing"],
            0,
            8,
        )
    };
    assert_eq!(db.apply(unit("1")).await, Ok(()));
    assert_eq!(db.apply(unit("2")).await, Err(UnitError::Guard { index: 1, tag: 7 }));
    assert_eq!(left(&db, "tea").await, 0);
    assert_eq!(count(&db, "SELECT COUNT(*) FROM sales").await, 1);
}

pub async fn guards_are_reported_by_their_place_in_the_unit_whatever_the_lock_order(fixture: Fixture) {
    let db = stocked(&fixture, "a", 1).await;
    // Runs in the order a, z: both refuse, and the first that ran is named.
    let unit = Unit::new("t.sorted")
        .exec(ADD_SALE, params!["1", "a", "ann"])
        .guard(TAKE_ONE, params!["z"], 1, 26)
        .order_by_key("z")
        .guard(TAKE_ONE, params!["a"], 0, 1)
        .order_by_key("a");
    assert_eq!(db.apply(unit).await, Err(UnitError::Guard { index: 2, tag: 1 }));
    assert_eq!(left(&db, "a").await, 1);
}

pub async fn a_failed_statement_of_a_unit_is_named_and_rolls_back(fixture: Fixture) {
    let db = stocked(&fixture, "tea", 5).await;
    for guarded in [true, false] {
        let unit = Unit::new("t.twice").exec(TAKE_ONE, params!["tea"]).exec(ADD_SALE, params!["1", "tea", "ann"]);
        let unit = unit.exec(ADD_SALE, params!["2", "tea", "ann"]);
        let unit = if guarded { unit.guard(TAKE_ONE, params!["none"], 1, 1) } else { unit };
        let refused = db.apply(unit).await.unwrap_err();
        assert!(refused.is_unique("sales_one_per_buyer"), "{refused:?}");
        assert_eq!(left(&db, "tea").await, 5);
    }
    let wrong = db.apply(Unit::new("t.wrong").exec("UPDATE nowhere SET x = 1", vec![])).await;
    assert!(matches!(wrong, Err(UnitError::Db(Error::Sql(_)))), "{wrong:?}");
    assert_eq!(db.apply(Unit::new("t.after").guard(TAKE_ONE, params!["tea"], 1, 1)).await, Ok(()));
}

pub async fn a_long_unit_keeps_its_order(fixture: Fixture) {
    let db = stocked(&fixture, "tea", 0).await;
    let mut unit = Unit::new("t.long");
    for i in 0..100i64 {
        let sql = "UPDATE stock SET left_units = ? WHERE sku = 'tea' AND left_units = ?";
        unit = unit.guard(sql, params![i + 1, i], 1, i as u32);
    }
    assert_eq!(db.apply(unit).await, Ok(()));
    assert_eq!(left(&db, "tea").await, 100);
}
