//! One measurement as a line of JSON.

use std::fmt::{self, Display, Write};

/// An object under construction.
pub(crate) struct Line {
    text: String,
}

impl Line {
    pub(crate) fn new(measure: &str, label: &str) -> Self {
        let line = Self {
            text: String::from("{"),
        };
        let line = line.word("measure", measure);
        if label.is_empty() {
            line
        } else {
            line.word("label", label)
        }
    }

    /// Adds a string.
    pub(crate) fn word(mut self, name: &str, value: &str) -> Self {
        self.name(name);
        self.text.push('"');
        for character in value.chars() {
            match character {
                '"' | '\\' => self.text.extend(['\\', character]),
                control if control.is_control() => self.text.push(' '),
                other => self.text.push(other),
            }
        }
        self.text.push('"');
        self
    }

    /// Adds a number.
    pub(crate) fn number(mut self, name: &str, value: impl Display) -> Self {
        self.name(name);
        // Writing to a string cannot fail.
        let _ = write!(self.text, "{value}");
        self
    }

    /// Adds a number with three digits after the point.
    pub(crate) fn fraction(self, name: &str, value: f64) -> Self {
        self.number(name, format_args!("{value:.3}"))
    }

    fn name(&mut self, name: &str) {
        if self.text.len() > 1 {
            self.text.push(',');
        }
        let _ = write!(self.text, "\"{name}\":");
    }
}

impl Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}}}", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_json() {
        let line = Line::new("latency", "a \"b\"\\\n")
            .number("count", 3)
            .fraction("p50_us", 1.23456);
        assert_eq!(
            line.to_string(),
            r#"{"measure":"latency","label":"a \"b\"\\ ","count":3,"p50_us":1.235}"#
        );
    }
}
