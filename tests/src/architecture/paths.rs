//! Collects the paths and the types of one file.

use proc_macro2::{Spacing, Span, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Ident, Item, ItemMod, ItemUse, Macro, UseTree};

/// A path as it is written in a file.
pub(super) struct Written {
    /// The inline modules around it, outermost first.
    pub(super) inside: Vec<String>,
    pub(super) segments: Vec<String>,
    pub(super) line: usize,
    /// The name that a `use` gives it; `*` for all names behind it.
    pub(super) binds: Option<String>,
}

/// What a file holds, without its tests.
#[derive(Default)]
pub(super) struct Found {
    pub(super) paths: Vec<Written>,
    /// Each type's name and line.
    pub(super) types: Vec<(String, usize)>,
    /// All names of items, with the inline modules around them.
    pub(super) items: Vec<Vec<String>>,
    /// Modules in separate files, with the inline modules around them.
    pub(super) modules: Vec<Vec<String>>,
    inside: Vec<String>,
}

impl Found {
    pub(super) fn in_file(file: &syn::File) -> Self {
        let mut found = Self::default();
        found.visit_file(file);
        found
    }

    fn written(&mut self, segments: Vec<String>, span: Span, binds: Option<String>) {
        let line = span.start().line;
        self.paths.push(Written { inside: self.inside.clone(), segments, line, binds });
    }

    fn use_tree(&mut self, before: &[String], tree: &UseTree) {
        let with = |ident: &Ident| [before, &[ident.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.use_tree(&with(&path.ident), &path.tree),
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.use_tree(before, tree));
            }
            UseTree::Glob(glob) => {
                self.written(before.to_vec(), glob.star_token.spans[0], Some("*".to_owned()));
            }
            UseTree::Name(name) if name.ident == "self" => {
                self.written(before.to_vec(), name.ident.span(), before.last().cloned());
            }
            UseTree::Name(name) => {
                let name = &name.ident;
                self.written(with(name), name.span(), Some(name.to_string()));
            }
            UseTree::Rename(rename) => {
                let binds = Some(rename.rename.to_string());
                self.written(with(&rename.ident), rename.ident.span(), binds);
            }
        }
    }

    /// The paths in the arguments of a macro: idents that `::` joins.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<Ident> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) if colons == 2 => path.push(ident),
                TokenTree::Ident(ident) => {
                    self.joined(&mut path);
                    path.push(ident);
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' && !path.is_empty() => {
                    let joins = colons == 1 || punct.spacing() == Spacing::Joint;
                    colons = if joins { colons + 1 } else { 0 };
                    continue;
                }
                TokenTree::Group(group) => {
                    self.joined(&mut path);
                    self.tokens(group.stream());
                }
                _ => self.joined(&mut path),
            }
            colons = 0;
        }
        self.joined(&mut path);
    }

    fn joined(&mut self, path: &mut Vec<Ident>) {
        let idents = std::mem::take(path);
        if let [first, _, ..] = &idents[..] {
            let span = first.span();
            self.written(idents.iter().map(Ident::to_string).collect(), span, None);
        }
    }

    fn item(&mut self, ident: &Ident, is_type: bool) {
        self.items.push([&self.inside[..], &[ident.to_string()]].concat());
        if is_type {
            self.types.push((ident.to_string(), ident.span().start().line));
        }
    }
}

impl<'ast> Visit<'ast> for Found {
    fn visit_item(&mut self, item: &'ast Item) {
        if is_test(attributes(item)) {
            return;
        }
        match item {
            Item::Struct(item) => self.item(&item.ident, true),
            Item::Enum(item) => self.item(&item.ident, true),
            Item::Union(item) => self.item(&item.ident, true),
            Item::Trait(item) => self.item(&item.ident, true),
            Item::Type(item) => self.item(&item.ident, true),
            Item::Fn(item) => self.item(&item.sig.ident, false),
            Item::Const(item) => self.item(&item.ident, false),
            Item::Static(item) => self.item(&item.ident, false),
            _ => {}
        }
        visit::visit_item(self, item);
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        let name = module.ident.to_string();
        match &module.content {
            None => self.modules.push([&self.inside[..], &[name]].concat()),
            Some((_, items)) => {
                self.inside.push(name);
                items.iter().for_each(|item| self.visit_item(item));
                self.inside.pop();
            }
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.use_tree(&[], &item.tree);
    }

    fn visit_impl_item_fn(&mut self, method: &'ast syn::ImplItemFn) {
        if !is_test(&method.attrs) {
            visit::visit_impl_item_fn(self, method);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if let Some(first) = path.segments.first()
            && path.segments.len() > 1
        {
            let segments = path.segments.iter().map(|segment| segment.ident.to_string());
            self.written(segments.collect(), first.ident.span(), None);
        }
        visit::visit_path(self, path);
    }

    /// `pub(in …)` is a bound, not an import.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    /// Links in comments are attributes too.
    fn visit_attribute(&mut self, _: &'ast Attribute) {}

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }
}

/// Whether an attribute keeps an item out of product code.
pub(super) fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().filter(|attribute| attribute.path().is_ident("cfg")).any(|attribute| {
        let mut condition = String::new();
        if let syn::Meta::List(list) = &attribute.meta {
            condition = list.tokens.to_string();
        }
        let mut words = condition.split(|c: char| !c.is_alphanumeric() && c != '_');
        words.any(|word| word == "test") && !condition.contains("not")
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
