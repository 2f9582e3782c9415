//! A small XML tree: what libvirt's documents need, no more.

use std::fmt::Display;

use quick_xml::XmlVersion;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::ResolveResult;
use quick_xml::reader::NsReader;

/// Why a document cannot be written or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum XmlError {
    /// XML 1.0 has no way to write this character.
    #[error("{0:?} holds a control character, which XML cannot hold")]
    Character(String),
    /// The text is not XML.
    #[error("the host's answer is not XML: {0}")]
    Syntax(String),
    /// Something that has to be there is not, or is not what it has to be.
    #[error("the host's answer has {found} where {expected} was expected")]
    Content { found: String, expected: String },
}

/// An element with its attributes, its text and the elements in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Element {
    /// Name without prefix when read, as it is written when rendered.
    pub name: String,
    /// Namespace, when read.
    pub namespace: Option<String>,
    pub attributes: Vec<(String, String)>,
    pub text: String,
    pub children: Vec<Element>,
}

impl Element {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    pub(crate) fn attribute(mut self, name: &str, value: impl Display) -> Self {
        self.attributes.push((name.to_owned(), value.to_string()));
        self
    }

    pub(crate) fn text(mut self, text: impl Display) -> Self {
        self.text = text.to_string();
        self
    }

    pub(crate) fn child(mut self, child: Self) -> Self {
        self.children.push(child);
        self
    }

    pub(crate) fn children(mut self, children: impl IntoIterator<Item = Self>) -> Self {
        self.children.extend(children);
        self
    }

    /// The first child of that name.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        self.all(name).next()
    }

    /// All children of that name.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The attribute's value.
    pub(crate) fn value(&self, attribute: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|(name, _)| name == attribute)
            .map(|(_, value)| value.as_str())
    }

    /// The document of which this is the root.
    pub(crate) fn render(&self) -> Result<String, XmlError> {
        let mut out = String::new();
        self.write(&mut out)?;
        Ok(out)
    }

    fn write(&self, out: &mut String) -> Result<(), XmlError> {
        out.push('<');
        out.push_str(&self.name);
        for (name, value) in &self.attributes {
            out.push(' ');
            out.push_str(name);
            out.push_str("='");
            escape(value, out)?;
            out.push('\'');
        }
        if self.text.is_empty() && self.children.is_empty() {
            out.push_str("/>");
            return Ok(());
        }
        out.push('>');
        escape(&self.text, out)?;
        for child in &self.children {
            child.write(out)?;
        }
        out.push_str("</");
        out.push_str(&self.name);
        out.push('>');
        Ok(())
    }

    /// Reads a document and gives its root.
    pub(crate) fn parse(xml: &str) -> Result<Self, XmlError> {
        let mut reader = NsReader::from_str(xml);
        // The element that holds the root.
        let mut open = vec![Self::default()];
        loop {
            let (namespace, event) = reader
                .read_resolved_event()
                .map_err(|error| XmlError::Syntax(error.to_string()))?;
            let top = open.len() - 1;
            match event {
                Event::Start(start) => open.push(element(&namespace, &start)?),
                Event::Empty(start) => open[top].children.push(element(&namespace, &start)?),
                Event::End(_) => {
                    if let Some(closed) = open.pop()
                        && let Some(parent) = open.last_mut()
                    {
                        parent.children.push(closed);
                    }
                }
                Event::Text(text) => open[top].text.push_str(&text.xml10_content()),
                Event::CData(text) => open[top].text.push_str(&text.xml10_content()),
                Event::GeneralRef(reference) => {
                    let character = reference
                        .resolve_char_ref()
                        .map_err(|error| XmlError::Syntax(error.to_string()))?;
                    match (character, resolve_xml_entity(&reference)) {
                        (Some(character), _) => open[top].text.push(character),
                        (None, Some(text)) => open[top].text.push_str(text),
                        (None, None) => {
                            return Err(XmlError::Syntax(format!("unknown entity {}", &*reference)));
                        }
                    }
                }
                Event::Eof => break,
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
            }
        }
        open.pop()
            .and_then(|mut holder| holder.children.pop())
            .ok_or_else(|| XmlError::Content {
                found: "nothing".to_owned(),
                expected: "a root element".to_owned(),
            })
    }
}

fn element(namespace: &ResolveResult<'_>, start: &BytesStart<'_>) -> Result<Element, XmlError> {
    let mut element = Element::new(start.local_name().as_ref());
    if let ResolveResult::Bound(namespace) = namespace {
        element.namespace = Some(namespace.as_ref().to_owned());
    }
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| XmlError::Syntax(error.to_string()))?;
        let value = attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(|error| XmlError::Syntax(error.to_string()))?;
        element
            .attributes
            .push((attribute.key.as_ref().to_owned(), value.into_owned()));
    }
    Ok(element)
}

/// Escapes for element content and for attributes in either kind of quotes. Line ends and tabs would not survive in an
/// attribute as they are.
fn escape(text: &str, out: &mut String) -> Result<(), XmlError> {
    for character in text.chars() {
        match character {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\'' => out.push_str("&apos;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            '\t' => out.push_str("&#9;"),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => return Err(XmlError::Character(text.to_owned())),
            _ => out.push(character),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_written_is_read_back() {
        let text = "a<b>&amp;\"quoted\" 'single'\n\ttab ]]> é 日本";
        let root = Element::new("root")
            .attribute("a", text)
            .child(Element::new("child").text(text))
            .child(Element::new("empty").attribute("b", ""));
        assert_eq!(Element::parse(&root.render().unwrap()).unwrap(), root);
    }

    #[test]
    fn refuses_what_xml_cannot_hold() {
        let root = Element::new("root").text("bell\u{7}");
        assert_eq!(root.render(), Err(XmlError::Character("bell\u{7}".to_owned())));
    }

    #[test]
    fn resolves_namespaces() {
        let root = Element::parse("<a><x:b xmlns:x='urn:x' c='1'/><b/></a>").unwrap();
        let namespaces: Vec<_> = root.all("b").map(|child| child.namespace.as_deref()).collect();
        assert_eq!(namespaces, [Some("urn:x"), None]);
    }

    #[test]
    fn says_what_is_not_xml() {
        assert!(matches!(Element::parse("<a><b></a>"), Err(XmlError::Syntax(_))));
        assert!(matches!(Element::parse(""), Err(XmlError::Content { .. })));
    }
}
