//! The rows of variants of a product's form: written from a product, read back, and marked where something is wrong.

use std::collections::BTreeMap;

use mallard_proto::catalog::v1::{Option as ProductOption, Product, Variant, VariantInput};
use mallard_proto::common::v1::Money as MoneyMessage;
use mallard_types::{Currency, Error, Money, Result};

use super::text::Words;
use crate::ask::Fields;
use crate::console::form::{Input, say};
use crate::console::text::Words as Common;
use crate::console::view::{Group, Pick};
use crate::domain::{minor, typed};
use crate::text::fill;

/// Rows a form begins with, and those that come with a click.
const ROWS_FIRST: usize = 3;
const ROWS_MORE: usize = 3;
/// Most variants of a product.
const ROWS_MAX: usize = 100;
/// Options a form offers; a product that has more shows them all.
const OPTIONS_OFFERED: usize = 2;
const OPTIONS_MAX: usize = 10;

/// One row as it was typed.
#[derive(Clone, Debug, Default)]
struct Row {
    id: String,
    /// Title of its own, where it is not just the options.
    title: String,
    values: Vec<String>,
    price: String,
    code: String,
    stock: String,
    gone: bool,
}

impl Row {
    fn is_empty(&self) -> bool {
        self.id.is_empty()
            && [&self.price, &self.code, &self.stock].into_iter().chain(&self.values).all(String::is_empty)
    }
}

/// All rows, with the names of the options.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    names: Vec<String>,
    rows: Vec<Row>,
    /// Units on hand by SKU, where they are known.
    pub stock: BTreeMap<String, i64>,
}

/// What a form asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    pub options: Vec<ProductOption>,
    pub variants: Vec<VariantInput>,
    /// Row of each variant.
    pub rows: Vec<usize>,
}

impl Rows {
    /// Makes empty rows.
    pub fn empty() -> Rows {
        Rows {
            names: vec![String::new(); OPTIONS_OFFERED],
            rows: vec![Row::default(); ROWS_FIRST],
            stock: BTreeMap::new(),
        }
    }

    /// Writes the rows of a product, with one to add.
    pub fn of(product: &Product) -> Rows {
        let mut names: Vec<String> = product.options.iter().map(|option| option.name.clone()).collect();
        names.resize(names.len().max(OPTIONS_OFFERED), String::new());
        let mut rows: Vec<Row> = product.variants.iter().map(|variant| row(product, &names, variant)).collect();
        if rows.len() < ROWS_MAX {
            rows.push(Row::default());
        }
        Rows { names, rows, stock: BTreeMap::new() }
    }

    /// Reads what was typed.
    pub fn read(form: &Fields) -> Rows {
        let options = (0..OPTIONS_MAX).take_while(|i| form.pairs().any(|(name, _)| name == format!("option{i}")));
        let names: Vec<String> = options.map(|i| form.get(&format!("option{i}")).to_owned()).collect();
        let has = |i: &usize| form.pairs().any(|(name, _)| name == format!("variants[{i}].price"));
        let read = |i: usize| {
            let get = |field: &str| form.get(&format!("variants[{i}].{field}")).to_owned();
            Row {
                id: get("id"),
                title: get("title"),
                values: (0..names.len()).map(|j| get(&format!("o{j}"))).collect(),
                price: get("price"),
                code: get("code"),
                stock: get("stock"),
                gone: !get("gone").is_empty(),
            }
        };
        Rows { rows: (0..ROWS_MAX).take_while(has).map(read).collect(), names, stock: BTreeMap::new() }
    }

    /// Makes room for more.
    pub fn more(mut self) -> Rows {
        let count = (self.rows.len() + ROWS_MORE).min(ROWS_MAX);
        self.rows.resize(count, Row::default());
        self
    }

    /// Turns the rows into what the catalogue is asked for.
    ///
    /// # Errors
    /// What is wrong, with the field of the form it is about.
    pub fn wanted(&self, currency: Currency) -> Result<Wanted> {
        let used: Vec<(usize, &String)> = self.names.iter().enumerate().filter(|(_, name)| !name.is_empty()).collect();
        let mut options: Vec<ProductOption> =
            used.iter().map(|(_, name)| ProductOption { name: (*name).clone(), values: Vec::new() }).collect();
        let (mut variants, mut rows) = (Vec::new(), Vec::new());
        for (i, row) in self.rows.iter().enumerate().filter(|(_, row)| !row.gone && !row.is_empty()) {
            let at = |field: &str| format!("variants[{i}].{field}");
            let price = minor(&row.price, currency).filter(|amount| *amount > 0);
            let amount = price.ok_or_else(|| Error::invalid("bad_price", "a price above zero").param(at("price")))?;
            let stock: Option<i64> = if row.stock.is_empty() { Some(0) } else { row.stock.parse().ok() };
            let stock = stock.filter(|units| *units >= 0);
            let stock = stock.ok_or_else(|| Error::invalid("bad_stock", "a whole number").param(at("stock")))?;
            let mut values = BTreeMap::new();
            let is_nameless = |j: &usize| self.names.get(*j).is_none_or(String::is_empty);
            if let Some(j) = (0..row.values.len()).find(|j| !row.values[*j].is_empty() && is_nameless(j)) {
                return Err(Error::invalid("bad_option", "an option has a name").param(format!("option{j}")));
            }
            for ((j, name), option) in used.iter().zip(&mut options) {
                let value = row.values.get(*j).cloned().unwrap_or_default();
                if value.is_empty() {
                    let field = at(&format!("o{j}"));
                    return Err(Error::invalid("option_missing", "a value for every option").param(field));
                }
                if !option.values.contains(&value) {
                    option.values.push(value.clone());
                }
                values.insert((*name).clone(), value);
            }
            variants.push(VariantInput {
                id: row.id.clone(),
                title: row.title.clone(),
                options: values,
                price: Some(MoneyMessage { amount, currency: currency.as_str().to_owned() }),
                code: row.code.clone(),
                stock,
            });
            rows.push(i);
        }
        if variants.is_empty() {
            return Err(Error::invalid("bad_variants", "at least one variant").param("variants[0].price"));
        }
        Ok(Wanted { options, variants, rows })
    }

    /// Makes the fields that name the options.
    pub fn names(&self, w: &'static Words) -> Vec<Input> {
        let field = |(i, name): (usize, &String)| {
            let input = Input::line(format!("option{i}"), fill(w.option_name, i + 1), name.clone());
            Input { maxlength: 100, ..if i == 0 { input.hint(w.option_hint) } else { input } }
        };
        self.names.iter().enumerate().map(field).collect()
    }

    /// Makes the rows of fields.
    pub fn groups(&self, w: &'static Words, link: impl Fn(&str) -> String) -> Vec<Group> {
        self.rows.iter().enumerate().map(|(i, row)| self.group(w, i, row, &link)).collect()
    }

    fn group(&self, w: &'static Words, i: usize, row: &Row, link: &impl Fn(&str) -> String) -> Group {
        let name = |field: &str| format!("variants[{i}].{field}");
        let mut fields = Vec::new();
        for (j, value) in self.names.iter().enumerate() {
            let label = if value.is_empty() { fill(w.option_value, j + 1) } else { value.clone() };
            let value = row.values.get(j).cloned().unwrap_or_default();
            fields.push(Input { maxlength: 100, ..Input::line(name(&format!("o{j}")), label, value).required() });
        }
        fields.push(Input::line(name("price"), w.price, row.price.clone()).required().digits());
        fields.push(Input { maxlength: 100, ..Input::line(name("code"), w.code, row.code.clone()).required() });
        let mut group = Group { legend: fill(w.variant, i + 1), ..Group::default() };
        if row.id.is_empty() {
            let stock = Input::line(name("stock"), w.units_now, row.stock.clone()).required();
            fields.push(Input { inputmode: "numeric", maxlength: 10, ..stock });
        } else {
            let shown: Vec<&str> = row.values.iter().map(String::as_str).filter(|value| !value.is_empty()).collect();
            let shown = if shown.is_empty() { fill(w.variant, i + 1) } else { shown.join(" · ") };
            group.legend = match self.stock.get(&row.id) {
                Some(units) => format!("{shown} ({}: {units})", w.available),
                None => shown,
            };
            group.href = link(&row.id);
            group.hidden = vec![(name("id"), row.id.clone()), (name("title"), row.title.clone())];
            let (label, value) = (w.remove_variant.to_owned(), "1".to_owned());
            group.pick = Some(Pick { name: name("gone"), value, label, chosen: row.gone });
        }
        group.fields = fields;
        group
    }
}

fn row(product: &Product, names: &[String], variant: &Variant) -> Row {
    let values: Vec<String> = names.iter().map(|name| variant.options.get(name).cloned().unwrap_or_default()).collect();
    let usual =
        if product.options.is_empty() { product.title.clone() } else { values[..product.options.len()].join(" / ") };
    let money = variant.price.as_ref().and_then(|price| Money::try_from(price).ok());
    Row {
        id: variant.id.clone(),
        // A title that only repeats the options follows them.
        title: if variant.title == usual { String::new() } else { variant.title.clone() },
        values,
        price: money.map(typed).unwrap_or_default(),
        code: variant.code.clone(),
        ..Row::default()
    }
}

/// Writes what the catalogue, or the form itself, refused beside the field it is about; tells whether there is such a field.
/// The catalogue counts the variants it was sent, the form its rows.
pub fn mark(names: &mut [Input], groups: &mut [Group], rows: &[usize], c: &'static Common, error: &Error) -> bool {
    let param = error.param.as_deref().unwrap_or_default();
    if let Some(field) = names.iter_mut().find(|field| field.name == param) {
        field.error = say(c, error);
        return true;
    }
    if let Some(rest) = param.strip_prefix("options[") {
        let index = rest.split(']').next().and_then(|index| index.parse::<usize>().ok());
        // The catalogue counts the options that have a name.
        let mut named = names.iter_mut().filter(|field| !field.value.is_empty());
        return match index.and_then(|index| named.nth(index)) {
            Some(field) => {
                field.error = say(c, error);
                true
            }
            None => false,
        };
    }
    let Some((index, field)) = param.strip_prefix("variants[").and_then(|rest| rest.split_once("].")) else {
        return false;
    };
    let Ok(index) = index.parse::<usize>() else { return false };
    let index = rows.get(index).copied().unwrap_or(index);
    let Some(group) = groups.get_mut(index) else { return false };
    let field = match field {
        "price.amount" | "price.currency" => "price",
        "title" => "code",
        "options" | "id" => "o0",
        field => field,
    };
    let name = format!("variants[{index}].{field}");
    match group.fields.iter_mut().find(|input| input.name == name) {
        Some(input) => {
            input.error = say(c, error);
            true
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Lang;

    fn typed_rows(text: &str) -> Rows {
        Rows::read(&Fields::parse(text.as_bytes()))
    }

    #[test]
    fn rows_become_variants_and_empty_ones_nothing() {
        let rows = typed_rows(
            "option0=Colour&option1=&variants[0].o0=Ink&variants[0].price=12.50&variants[0].stock=5\
             &variants[1].price=&variants[1].o0=&variants[2].o0=Oat&variants[2].price=13&variants[2].code=OAT",
        );
        let wanted = rows.wanted(Currency::CNY).unwrap();
        assert_eq!(wanted.rows, [0, 2]);
        assert_eq!(wanted.options, [ProductOption { name: "Colour".into(), values: vec!["Ink".into(), "Oat".into()] }]);
        let amounts: Vec<i64> = wanted.variants.iter().map(|v| v.price.as_ref().unwrap().amount).collect();
        assert_eq!((amounts, wanted.variants[0].stock), (vec![1_250, 1_300], 5));
        assert_eq!(wanted.variants[1].options["Colour"], "Oat");
    }

    #[test]
    fn what_is_wrong_is_said_beside_its_field() {
        let param = |text: &str| typed_rows(text).wanted(Currency::CNY).unwrap_err().param.unwrap().into_owned();
        assert_eq!(param("variants[0].price=free"), "variants[0].price");
        assert_eq!(param("variants[0].price=1&variants[0].stock=-1"), "variants[0].stock");
        assert_eq!(param("option0=Colour&variants[0].price=1"), "variants[0].o0");
        assert_eq!(param("variants[0].price="), "variants[0].price");
        assert_eq!(param("option0=&option1=Size&variants[0].price=1&variants[0].o0=Ink&variants[0].o1=M"), "option0");

        // The catalogue counts two variants, the form three rows.
        let (w, c) = (Words::of(Lang::En), Common::of(Lang::En));
        let rows = typed_rows(
            "option0=Colour&variants[0].price=1&variants[0].o0=a&variants[1].price=&variants[2].price=2&variants[2].o0=a",
        );
        let (mut names, mut groups) = (rows.names(w), rows.groups(w, |_| String::new()));
        let alike = Error::invalid("variants_alike", "x").param("variants[1].options");
        assert!(mark(&mut names, &mut groups, &[0, 2], c, &alike));
        assert_eq!(groups[2].fields[0].error, c.variants_alike);
        let nameless = Error::invalid("bad_option", "x").param("option0");
        assert!(mark(&mut rows.names(w), &mut [], &[], c, &nameless));
        let bad = Error::invalid("bad_option", "x").param("options[0].name");
        assert!(mark(&mut names, &mut groups, &[0, 2], c, &bad));
        assert_eq!(names[0].error, c.option_bad);
        assert!(!mark(&mut names, &mut groups, &[], c, &Error::invalid("bad_title", "x").param("title")));
    }

    #[test]
    fn a_product_is_written_and_read_back_unchanged() {
        let price = |amount| Some(MoneyMessage { amount, currency: "CNY".into() });
        let options: BTreeMap<String, String> = [("Size".into(), "M".into()), ("Colour".into(), "Ink".into())].into();
        let product = Product {
            title: "Mug".into(),
            options: ["Size", "Colour"].map(|name| ProductOption { name: name.into(), values: Vec::new() }).into(),
            variants: vec![Variant {
                id: "sku_1".into(),
                title: "M / Ink".into(),
                options: options.clone(),
                price: price(1_299),
                code: "X".into(),
                ..Variant::default()
            }],
            ..Product::default()
        };
        let wanted = Rows::of(&product).wanted(Currency::CNY).unwrap();
        assert_eq!(wanted.variants.len(), 1);
        let variant = &wanted.variants[0];
        assert_eq!((variant.id.as_str(), &variant.options, &variant.price), ("sku_1", &options, &price(1_299)));
        assert_eq!((variant.title.as_str(), variant.code.as_str()), ("", "X"));
        assert_eq!(wanted.options[0].name, "Size");
        assert_eq!(Rows::of(&product).more().rows.len(), 2 + ROWS_MORE);
    }
}
