//! Categories: a tree that only grows. A category never moves, so a product's ancestors can be written down with it.

use std::collections::{BTreeMap, HashMap};

use mallard_types::text::is_blank;

use super::validate::legible;
use crate::error::Refusal;

const SLUG_CHARS_MAX: usize = 100;
const NAME_CHARS_MAX: usize = 100;
const NAMES_MAX: usize = 20;
const DEPTH_MAX: usize = 10;

/// A shelf of the shop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Category {
    /// `cat_…`
    pub id: String,
    /// Name in addresses, lower case.
    pub slug: String,
    /// Name as shown.
    pub name: String,
    /// Empty at the root.
    pub parent_id: String,
    /// Language tag to name.
    pub names: BTreeMap<String, String>,
    /// Place among its siblings.
    pub position: i32,
}

/// All categories, parents before children, siblings by position and slug.
#[derive(Debug, Default)]
pub struct Tree {
    ordered: Vec<Category>,
    by_id: HashMap<String, usize>,
    by_slug: HashMap<String, usize>,
}

impl Tree {
    /// Orders categories. One whose parent is missing stands at the root.
    pub fn new(mut categories: Vec<Category>) -> Tree {
        categories.sort_by(|a, b| (a.position, &a.slug).cmp(&(b.position, &b.slug)));
        let ids: HashMap<String, usize> = categories.iter().enumerate().map(|(i, c)| (c.id.clone(), i)).collect();
        let mut children: Vec<Vec<usize>> = vec![Vec::new(); categories.len()];
        let mut stack = Vec::new();
        for (i, category) in categories.iter().enumerate() {
            match ids.get(&category.parent_id) {
                Some(parent) if *parent != i => children[*parent].push(i),
                _ => stack.push(i),
            }
        }
        stack.reverse();
        let mut order = Vec::with_capacity(categories.len());
        while let Some(i) = stack.pop() {
            order.push(i);
            stack.extend(children[i].iter().rev());
        }
        let mut slots: Vec<Option<Category>> = categories.into_iter().map(Some).collect();
        let ordered: Vec<Category> = order.into_iter().filter_map(|i| slots[i].take()).collect();
        let by_id = ordered.iter().enumerate().map(|(i, c)| (c.id.clone(), i)).collect();
        let by_slug = ordered.iter().enumerate().map(|(i, c)| (c.slug.to_lowercase(), i)).collect();
        Tree { ordered, by_id, by_slug }
    }

    /// Returns all, parents before children.
    pub fn all(&self) -> &[Category] {
        &self.ordered
    }

    /// Finds by id.
    pub fn get(&self, id: &str) -> Option<&Category> {
        self.by_id.get(id).map(|i| &self.ordered[*i])
    }

    /// Finds by id or slug, in any letter case.
    pub fn find(&self, id_or_slug: &str) -> Option<&Category> {
        let lower = id_or_slug.trim().to_lowercase();
        let by_id = self.by_id.get(id_or_slug).or_else(|| self.by_id.get(&lower));
        by_id.or_else(|| self.by_slug.get(&lower)).map(|i| &self.ordered[*i])
    }

    /// Returns the ids of a category and everything above it.
    pub fn line_of(&self, id: &str) -> Vec<&str> {
        let mut line = Vec::new();
        let mut next = self.get(id);
        while let Some(category) = next {
            if line.len() > DEPTH_MAX {
                break;
            }
            line.push(category.id.as_str());
            next = self.get(&category.parent_id);
        }
        line
    }
}

/// Checks a new category against the tree and returns it with its slug in lower case.
///
/// # Errors
/// [`Refusal::Bad`] with the field at fault, [`Refusal::SlugTaken`].
pub fn check_category(tree: &Tree, category: Category) -> Result<Category, Refusal> {
    let slug = category.slug.trim().to_lowercase();
    let shaped = slug.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_');
    if slug.is_empty() || slug.chars().count() > SLUG_CHARS_MAX || !shaped {
        return Err(Refusal::bad("bad_slug", "slug", "slug has 1 to 100 letters, digits, - and _"));
    }
    for name in std::iter::once(&category.name).chain(category.names.values()) {
        if is_blank(name) || name.chars().count() > NAME_CHARS_MAX {
            return Err(Refusal::bad("bad_name", "name", "a name has 1 to 100 characters"));
        }
        legible("name", name)?;
    }
    if category.names.len() > NAMES_MAX {
        return Err(Refusal::bad("too_many_names", "names", "a category has names in at most 20 languages"));
    }
    if !category.parent_id.is_empty() {
        if tree.get(&category.parent_id).is_none() {
            return Err(Refusal::bad("category_unknown", "parent_id", "there is no such category"));
        }
        if tree.line_of(&category.parent_id).len() >= DEPTH_MAX {
            return Err(Refusal::bad("too_deep", "parent_id", "categories are at most 10 deep"));
        }
    }
    if tree.by_slug.contains_key(&slug) {
        return Err(Refusal::SlugTaken);
    }
    Ok(Category { slug, ..category })
}
