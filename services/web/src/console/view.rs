//! Blocks a console's page is put together of: facts, tables, forms, charts. One template writes them all.

use askama::Template;
use http::StatusCode;
use mallard_proto::Timestamp;
use mallard_types::Result;

use super::chart::{self, Bar, Chart};
use super::form::Input;
use super::panel::Panel;
use super::shell::Shell;
use crate::answer::Answer;
use crate::ask::Ask;
use crate::view::{Picture, moment};

/// Writes a time of a message; nothing where there is none.
pub fn time(ask: &Ask, at: &Option<Timestamp>) -> String {
    at.as_ref().map(|at| moment(at.micros(), ask.lang)).unwrap_or_default()
}

/// A value in a table or beside a label.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    pub text: String,
    pub href: String,
    /// Shown as a state that is good, waiting or bad; empty for plain text.
    pub tone: &'static str,
    /// Smaller, below the text.
    pub note: String,
    /// Digits stand below digits.
    pub number: bool,
    /// Ids and other words of machines.
    pub code: bool,
    /// Long text of machines, behind a click.
    pub long: String,
    /// Something to do.
    pub acts: Vec<Form>,
    /// Stands before the text.
    pub picture: Option<Picture>,
}

impl Cell {
    /// Makes plain text.
    pub fn text(text: impl Into<String>) -> Cell {
        Cell { text: text.into(), ..Cell::default() }
    }

    /// Makes a number, or an amount.
    pub fn number(number: impl ToString) -> Cell {
        Cell { text: number.to_string(), number: true, ..Cell::default() }
    }

    /// Makes an id.
    pub fn code(text: impl Into<String>) -> Cell {
        Cell { text: text.into(), code: true, ..Cell::default() }
    }

    /// Makes a state.
    pub fn state(text: impl Into<String>, tone: &'static str) -> Cell {
        Cell { text: text.into(), tone, ..Cell::default() }
    }

    /// Makes things to do.
    pub fn acts(acts: Vec<Form>) -> Cell {
        Cell { acts, ..Cell::default() }
    }

    /// Leads somewhere.
    pub fn to(mut self, href: impl Into<String>) -> Cell {
        self.href = href.into();
        self
    }

    /// Says more, smaller.
    pub fn note(mut self, note: impl Into<String>) -> Cell {
        self.note = note.into();
        self
    }

    /// Keeps long text behind a click.
    pub fn long(mut self, long: impl Into<String>) -> Cell {
        self.long = long.into();
        self
    }
}

/// Rows of cells.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// What the table shows, for who cannot see it.
    pub caption: String,
    pub columns: Vec<&'static str>,
    pub rows: Vec<Vec<Cell>>,
    /// Said when there are no rows.
    pub empty: &'static str,
}

impl Table {
    /// Tells whether the rows fit a phone as they are.
    pub fn is_narrow(&self) -> bool {
        let acts = self.rows.iter().flatten().any(|cell| !cell.acts.is_empty() || cell.picture.is_some());
        self.columns.len() <= 3 && !acts
    }

    /// Tells whether a column holds numbers.
    pub fn is_number(&self, column: &usize) -> bool {
        self.rows.iter().filter_map(|row| row.get(*column)).any(|cell| cell.number)
    }
}

/// A form. One that destroys, or is wanted seldom, is folded: to open it is the first step, its button the second.
#[derive(Clone, Debug, Default)]
pub struct Form {
    pub action: String,
    /// Of what opens it, when it is folded.
    pub title: String,
    pub text: String,
    pub fields: Vec<Input>,
    pub hidden: Vec<(&'static str, String)>,
    pub button: &'static str,
    /// Whom or what it is about, for who cannot see where it stands.
    pub about: String,
    pub danger: bool,
    pub folded: bool,
    /// Shown opened, as after a refusal.
    pub opened: bool,
    /// Asks only; changes nothing.
    pub reads: bool,
    /// Where to load the present state, after somebody else changed it.
    pub reload: String,
    /// Brings a file.
    pub file: bool,
    pub small: bool,
    /// Choices of several, under a heading.
    pub picks_title: &'static str,
    pub picks: Vec<Pick>,
    /// What is wrong with what was chosen.
    pub picks_error: &'static str,
    /// Fields that belong together, such as those of one variant.
    pub groups: Vec<Group>,
    /// Pictures with their fields.
    pub pictures: Vec<Shown>,
    /// Another button that sends the same fields: its name and its words.
    pub other: Option<(&'static str, &'static str)>,
}

/// One of several things that may be chosen.
#[derive(Clone, Debug, Default)]
pub struct Pick {
    pub name: String,
    pub value: String,
    pub label: String,
    pub chosen: bool,
}

/// Fields that belong together.
#[derive(Clone, Debug, Default)]
pub struct Group {
    pub legend: String,
    pub href: String,
    pub hidden: Vec<(String, String)>,
    pub fields: Vec<Input>,
    pub pick: Option<Pick>,
}

/// A picture with its fields.
#[derive(Clone, Debug)]
pub struct Shown {
    pub picture: Picture,
    pub field: Input,
    pub pick: Option<Pick>,
}

impl Form {
    /// Makes the fields' ids different from those of the same form for another thing.
    pub fn about(mut self, id: &str, name: impl Into<String>) -> Form {
        self.about = name.into();
        for field in &mut self.fields {
            field.id = format!("{}-{id}", field.name);
        }
        self
    }
}

/// A chart with its table.
#[derive(Clone, Debug)]
pub struct ChartView {
    pub svg: String,
    /// Explains the hatching, empty when nothing is hatched.
    pub legend: &'static str,
    pub table: Table,
}

impl ChartView {
    /// Draws bars.
    pub fn new(
        id: &str,
        title: &str,
        bars: &[Bar],
        axis: &dyn Fn(i64) -> String,
        table: Table,
        legend: &'static str,
    ) -> ChartView {
        let svg = chart::draw(&Chart { id, title, bars, axis });
        let legend = if bars.iter().any(|bar| bar.back > 0) { legend } else { "" };
        ChartView { svg, legend, table }
    }
}

/// What stands in a block.
#[derive(Clone, Debug)]
pub enum Part {
    Table(Table),
    Facts(Vec<(&'static str, Cell)>),
    /// Numbers to be seen at a glance.
    Figures(Vec<(&'static str, String, String)>),
    Form(Box<Form>),
    Chart(ChartView),
    Note(&'static str, String),
    Links(Vec<(String, String)>),
}

/// A part of a page under a heading of its own.
#[derive(Clone, Debug)]
pub struct Block {
    pub id: &'static str,
    pub title: String,
    pub text: String,
    pub body: Panel<Vec<Part>>,
    /// Address of this block alone, asked again every few seconds; empty for a block that stays as it is.
    pub live: String,
    /// Seconds between two looks.
    pub live_s: u32,
    /// The first look comes as soon as the page is there.
    pub at_once: bool,
    /// Beside the others on a wide screen.
    pub aside: bool,
    /// The page's own heading says the same.
    pub hushed: bool,
}

impl Block {
    /// Makes a block.
    pub fn new(id: &'static str, title: impl Into<String>, body: Vec<Part>) -> Block {
        Block::of(id, title, Panel::Ready(body))
    }

    /// Makes a block whose service may be away.
    pub fn of(id: &'static str, title: impl Into<String>, body: Panel<Vec<Part>>) -> Block {
        Block {
            id,
            title: title.into(),
            text: String::new(),
            body,
            live: String::new(),
            live_s: 0,
            at_once: false,
            aside: false,
            hushed: false,
        }
    }

    /// Says what it is about.
    pub fn text(mut self, text: impl Into<String>) -> Block {
        self.text = text.into();
        self
    }

    /// Puts it beside the others.
    pub fn aside(mut self) -> Block {
        self.aside = true;
        self
    }

    /// Has it asked again and again, also after a look that failed.
    pub fn live(mut self, href: String, every_s: u32) -> Block {
        (self.live, self.live_s) = (href, every_s);
        self
    }

    /// Has it asked for as soon as the page is there.
    pub fn at_once(mut self) -> Block {
        self.at_once = true;
        self
    }
}

/// A page of blocks.
#[derive(Template)]
#[template(path = "console/page.html")]
pub struct Page {
    pub s: Shell,
    pub heading: String,
    pub state: Option<(String, &'static str)>,
    /// Leads back to where one came from: address and name.
    pub back: Option<(String, String)>,
    /// Things to do with the whole: address and name.
    pub links: Vec<(String, String)>,
    pub filter: Option<Form>,
    pub blocks: Vec<Block>,
    pub first: String,
    pub more: String,
    /// Seconds after which a browser without scripts loads the page again; 0 for never.
    pub refresh_s: u32,
}

impl Page {
    /// Makes a page of these blocks.
    pub fn new(s: Shell, mut blocks: Vec<Block>) -> Page {
        for block in blocks.iter_mut().filter(|block| block.title == s.f.title) {
            block.hushed = true;
        }
        Page {
            heading: s.f.title.clone(),
            s,
            state: None,
            back: None,
            links: Vec::new(),
            filter: None,
            blocks,
            first: String::new(),
            more: String::new(),
            refresh_s: 0,
        }
    }

    /// Tells whether some blocks stand beside the others.
    pub fn has_aside(&self) -> bool {
        self.blocks.iter().any(|block| block.aside)
    }

    /// Answers it.
    ///
    /// # Errors
    /// `page_unwritable`.
    pub fn answer(&self, status: StatusCode) -> Result<Answer> {
        Answer::with(status, self)
    }
}

/// One block alone, to be put into a page that is shown.
#[derive(Template)]
#[template(path = "console/piece.html")]
pub struct Piece {
    pub s: Shell,
    pub b: Block,
}
