use proptest::prelude::*;

use super::*;

fn line(sku: &str, quantity: i64) -> Line {
    Line { sku_id: sku.into(), quantity }
}

#[test]
fn lines_of_one_sku_are_summed_and_all_are_sorted() {
    let lines = Lines::merge(&[line("b", 2), line("a", 1), line("b", 3)]).unwrap();
    assert_eq!(lines.as_slice(), [line("a", 1), line("b", 5)]);
    assert_eq!((lines.quantity("b"), lines.quantity("c")), (5, 0));
}

#[test]
fn a_bad_line_is_named_by_its_place_in_the_request() {
    assert_eq!(Lines::merge(&[]), Err(Refusal::NoLines));
    assert_eq!(Lines::merge(&[line("a", 1), line("b", 0)]), Err(Refusal::BadQuantity(1)));
    assert_eq!(Lines::merge(&[line("a", -1)]), Err(Refusal::BadQuantity(0)));
    assert_eq!(Lines::merge(&[line("a", QUANTITY_MAX + 1)]), Err(Refusal::BadQuantity(0)));
    assert_eq!(Lines::merge(&[line("", 1)]), Err(Refusal::NoSku(0)));
    assert_eq!(Lines::merge(&vec![line("a", 1); LINES_MAX + 1]), Err(Refusal::TooManyLines));
    assert!(Lines::merge_received(&[line("a", 0)]).is_ok());
}

#[test]
fn every_move_follows_the_graph() {
    let of = |state| Reservation { state, ..Reservation::hold("ord_1".into(), Lines::default(), 0, 0) };
    use Refusal::{ReservationConfirmed, ReservationReleased};
    for (state, reserve, confirm, release) in [
        (State::Held, Ok(Move::Done), Ok(Move::Apply), Ok(Move::Apply)),
        (State::Confirmed, Ok(Move::Done), Ok(Move::Done), Err(ReservationConfirmed)),
        (State::Released, Err(ReservationReleased), Err(ReservationReleased), Ok(Move::Done)),
    ] {
        let reservation = of(state);
        assert_eq!(reservation.reserve_again(), reserve, "{state:?}");
        assert_eq!(reservation.confirm(), confirm, "{state:?}");
        assert_eq!(reservation.release(), release, "{state:?}");
        assert_eq!(State::parse(state.as_str()), Some(state));
    }
}

#[test]
fn no_more_comes_back_than_was_sold() {
    let sold = Lines::merge(&[line("a", 3)]).unwrap();
    let reservation = Reservation { state: State::Confirmed, ..Reservation::hold("ord_1".into(), sold, 0, 0) };
    let one = Lines::merge(&[line("a", 1)]).unwrap();
    let three = Lines::merge(&[line("a", 3)]).unwrap();
    assert_eq!(reservation.give_back(&Lines::default(), &three), Ok(()));
    assert_eq!(reservation.give_back(&one, &three), Err(Refusal::ReturnExceedsSold { sku_id: "a".into(), left: 2 }));
    let held = Reservation { state: State::Held, ..reservation };
    assert_eq!(held.give_back(&Lines::default(), &one), Err(Refusal::ReservationUnknown));
}

proptest! {
    #[test]
    fn merging_keeps_every_unit(lines in prop::collection::vec(("[a-e]", 1i64..100), 1..40)) {
        let lines: Vec<Line> = lines.into_iter().map(|(sku, quantity)| line(&sku, quantity)).collect();
        let merged = Lines::merge(&lines).unwrap();
        for sku in ["a", "b", "c", "d", "e"] {
            let expected: i64 = lines.iter().filter(|l| l.sku_id == sku).map(|l| l.quantity).sum();
            prop_assert_eq!(merged.quantity(sku), expected);
        }
        prop_assert!(merged.as_slice().windows(2).all(|pair| pair[0].sku_id < pair[1].sku_id));
        prop_assert_eq!(Lines::default().plus(&merged), merged);
    }
}
