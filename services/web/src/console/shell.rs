//! What stands around every page of a console.

use crate::ask::Ask;
use crate::assets::ASSETS;
use crate::console::text::Words;
use crate::view::Frame;

/// A way to another page of the console.
#[derive(Clone, Debug)]
pub struct Tab {
    pub href: String,
    pub label: &'static str,
    /// It is the page shown, or one below it.
    pub here: bool,
}

/// The frame of a console's page.
pub struct Shell {
    pub f: Frame,
    pub c: &'static Words,
    pub css: &'static str,
    /// Name of the console.
    pub place: &'static str,
    pub home: String,
    pub tabs: Vec<Tab>,
    /// Pages of the same part.
    pub subs: Vec<Tab>,
    /// What was refused, in words.
    pub trouble: String,
}

impl Shell {
    /// Makes the frame of a page; `here` is the path of its tab.
    pub fn new(
        ask: &Ask,
        title: impl Into<String>,
        place: &'static str,
        tabs: &[(&'static str, &'static str)],
        here: &str,
    ) -> Shell {
        Shell {
            f: Frame::new(ask, title),
            c: Words::of(ask.lang),
            css: &ASSETS.console.url,
            place,
            home: tabs.first().map(|(path, _)| ask.link(path)).unwrap_or_default(),
            tabs: made(ask, tabs, here),
            subs: Vec::new(),
            trouble: String::new(),
        }
    }

    /// Adds the pages of the same part.
    pub fn subs(mut self, ask: &Ask, subs: &[(&'static str, &'static str)], here: &str) -> Shell {
        self.subs = made(ask, subs, here);
        self
    }

    /// Says what has just been done.
    pub fn notice(mut self, notice: &'static str) -> Shell {
        self.f.notice = notice;
        self
    }

    /// Says what was refused.
    pub fn trouble(mut self, trouble: impl Into<String>) -> Shell {
        self.trouble = trouble.into();
        self
    }
}

fn made(ask: &Ask, tabs: &[(&'static str, &'static str)], here: &str) -> Vec<Tab> {
    tabs.iter().map(|(path, label)| Tab { href: ask.link(path), label, here: *path == here }).collect()
}
