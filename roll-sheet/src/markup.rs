//! Tables in markup that is named .xls: web pages, and the XML that Excel wrote in 2003 → sheets.
//!
//! Systems that "export to Excel" often write one of these. Both are text, decoded before they come here.

use html5gum::{Token, Tokenizer};
use quick_xml::{
    Reader,
    events::{BytesStart, Event},
};

use crate::{
    RollError, RollLimits, Sheet, Visibility,
    formats::Shown,
    grid::{Flaw, GridBuilder, Left, Merge},
    package::{SHEETS_MAX, unreadable},
    xlsx::{attribute, push_reference},
};

/// Cells that one may claim to be merged over.
const SPAN_MAX: u32 = 1_000;

/// What markup the text is, by its beginning.
pub(crate) enum Markup {
    Page,
    Spreadsheet,
    OpenDocument,
}

impl Markup {
    pub(crate) fn of(text: &str) -> Option<Self> {
        let text = text.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']);
        if !text.starts_with('<') {
            return None;
        }
        let mut end = text.len().min(4_096);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let head = text[..end].to_ascii_lowercase();
        if head.contains("schemas-microsoft-com:office:spreadsheet")
            && head.contains("<?mso-application")
            || head.contains("<workbook")
            || head.contains("<ss:workbook")
        {
            return Some(Self::Spreadsheet);
        }
        if head.contains("<office:document") {
            return Some(Self::OpenDocument);
        }
        [
            "<html",
            "<table",
            "<!doctype",
            "<meta",
            "<head",
            "<body",
            "<style",
            "<div",
            "<tr",
            "<center",
            "<font",
        ]
        .iter()
        .any(|tag| head.contains(tag))
        .then_some(Self::Page)
    }
}

struct Place {
    row: u32,
    column: u32,
    /// Rows below that a cell of each column still covers.
    covered: Vec<u32>,
}

impl Place {
    fn new() -> Self {
        Self {
            row: 0,
            column: 0,
            covered: Vec::new(),
        }
    }

    /// The next column that no cell from above covers.
    fn settle(&mut self) {
        while self
            .covered
            .get(self.column as usize)
            .is_some_and(|rows| *rows > 0)
        {
            self.column += 1;
        }
    }

    fn cover(&mut self, columns: u32, rows: u32) {
        if rows > 1 {
            let end = (self.column + columns) as usize;
            if self.covered.len() < end {
                self.covered.resize(end, 0);
            }
            for place in &mut self.covered[self.column as usize..end] {
                *place = rows;
            }
        }
    }

    fn next_row(&mut self) {
        for rows in &mut self.covered {
            *rows = rows.saturating_sub(1);
        }
        (self.row, self.column) = (self.row + 1, 0);
    }
}

/// A cell of a page that flows by.
#[derive(Default)]
struct PageCell {
    text: String,
    columns: u32,
    rows: u32,
    picture: bool,
}

/// All tables of a page, one below the other with nothing between: pages of a long list are one roll.
pub(crate) fn page(text: &str, limits: &RollLimits) -> Result<Vec<Sheet>, RollError> {
    let mut left = Left::of(limits);
    let mut grid = GridBuilder::new(limits);
    let mut merges = Vec::new();
    let mut place = Place::new();
    let mut cell: Option<PageCell> = None;
    let mut in_row = false;
    let mut silent = false;
    for token in Tokenizer::new(text) {
        let Ok(token) = token;
        match token {
            Token::StartTag(tag) => {
                let name: &[u8] = &tag.name;
                let of = |name: &[u8]| {
                    tag.attributes
                        .iter()
                        .find(|(key, _)| key.as_slice() == name)
                        .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
                };
                match name {
                    b"tr" => {
                        end_cell(&mut cell, &mut place, &mut grid, &mut merges, &mut left)?;
                        if in_row {
                            place.next_row();
                        }
                        in_row = true;
                        let style = of(b"style").unwrap_or_default().replace(' ', "");
                        if style.contains("display:none") {
                            grid.flaw(place.row, 0, Flaw::HiddenRow);
                        }
                    }
                    b"td" | b"th" => {
                        end_cell(&mut cell, &mut place, &mut grid, &mut merges, &mut left)?;
                        let span = |name: &[u8]| {
                            of(name)
                                .and_then(|count| count.trim().parse().ok())
                                .unwrap_or(1)
                                .clamp(1, SPAN_MAX)
                        };
                        in_row = true;
                        place.settle();
                        cell = Some(PageCell {
                            columns: span(b"colspan"),
                            rows: span(b"rowspan"),
                            ..PageCell::default()
                        });
                    }
                    b"br" | b"p" | b"div" | b"li" => {
                        if let Some(cell) =
                            cell.as_mut().filter(|cell| !cell.text.trim().is_empty())
                        {
                            cell.text.push('\n');
                        }
                    }
                    b"img" => {
                        if let Some(cell) = &mut cell {
                            cell.picture = true;
                        }
                    }
                    b"style" | b"script" | b"title" | b"xml" => silent = !tag.self_closing,
                    _ => {}
                }
            }
            Token::EndTag(tag) => {
                let name: &[u8] = &tag.name;
                match name {
                    b"td" | b"th" => {
                        end_cell(&mut cell, &mut place, &mut grid, &mut merges, &mut left)?;
                    }
                    b"tr" | b"table" => {
                        end_cell(&mut cell, &mut place, &mut grid, &mut merges, &mut left)?;
                        if in_row {
                            place.next_row();
                            in_row = false;
                        }
                        if name == b"table" {
                            place.covered.clear();
                        }
                    }
                    b"style" | b"script" | b"title" | b"xml" => silent = false,
                    _ => {}
                }
            }
            Token::String(text) if !silent => {
                if let Some(cell) = &mut cell {
                    let text = String::from_utf8_lossy(&text);
                    // Line ends of the page are blanks of the text.
                    cell.text
                        .push_str(&text.replace(['\r', '\n', '\u{a0}'], " "));
                }
            }
            _ => {}
        }
    }
    end_cell(&mut cell, &mut place, &mut grid, &mut merges, &mut left)?;
    grid.merged(merges, &mut left);
    let (rows, flaws) = grid.finish()?;
    Ok(vec![Sheet {
        name: None,
        visibility: Visibility::Visible,
        date1904: false,
        rows,
        flaws,
    }])
}

fn end_cell(
    cell: &mut Option<PageCell>,
    place: &mut Place,
    grid: &mut GridBuilder<'_>,
    merges: &mut Vec<Merge>,
    left: &mut Left,
) -> Result<(), RollError> {
    let Some(cell) = cell.take() else {
        return Ok(());
    };
    let text = cell.text.split_inclusive('\n').map(str::trim);
    let text = text.collect::<Vec<_>>().join("\n");
    let text = text.trim();
    if text.is_empty() && cell.picture {
        grid.flaw(place.row, place.column, Flaw::Picture);
    }
    grid.text(place.row, place.column, text, left)?;
    if cell.rows > 1 {
        merges.push(Merge {
            top: place.row,
            left: place.column,
            bottom: place.row + cell.rows - 1,
            right: place.column + cell.columns - 1,
        });
    }
    place.cover(cell.columns, cell.rows);
    place.column += cell.columns;
    Ok(())
}

/// The worksheets of an XML spreadsheet of 2003.
pub(crate) fn spreadsheet(text: &str, limits: &RollLimits) -> Result<Vec<Sheet>, RollError> {
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}').trim_start());
    let config = reader.config_mut();
    config.check_end_names = false;
    config.expand_empty_elements = true;
    config.allow_dangling_amp = true;
    config.allow_unmatched_ends = true;
    let mut left = Left::of(limits);
    let mut sheets: Vec<Sheet> = Vec::new();
    let mut open: Option<Worksheet<'_>> = None;
    let mut date1904 = false;
    let mut in_1904 = false;
    loop {
        let event = reader.read_event().map_err(|error| match error {
            // A tag, or the like, that never ends.
            quick_xml::Error::Syntax(_) => RollError::Truncated,
            error => unreadable(error),
        });
        match event? {
            Event::Start(e) => match (e.local_name().as_ref(), &mut open) {
                ("Date1904", None) => in_1904 = true,
                ("Worksheet", None) if sheets.len() < SHEETS_MAX => {
                    open = Some(Worksheet::new(&e, limits));
                }
                (name, Some(sheet)) => sheet.start(name, &e),
                _ => {}
            },
            Event::Text(text) => {
                if let Some(sheet) = &mut open {
                    sheet.text(&text.xml10_content());
                }
            }
            Event::CData(text) => {
                if let Some(sheet) = &mut open {
                    sheet.text(&text.xml10_content());
                }
            }
            Event::GeneralRef(reference) => {
                if let Some(sheet) = &mut open {
                    let mut sign = String::new();
                    push_reference(&reference, &mut sign);
                    sheet.text(&sign);
                }
            }
            Event::End(e) => {
                let name = e.local_name();
                if name.as_ref() == "Date1904" {
                    date1904 |= in_1904;
                    in_1904 = false;
                }
                if name.as_ref() == "Worksheet" {
                    if let Some(sheet) = open.take() {
                        sheets.extend(sheet.finish(date1904, &mut left)?);
                    }
                } else if let Some(sheet) = &mut open {
                    sheet.end(name.as_ref(), &mut left)?;
                }
            }
            Event::Eof => break,
            _ => {}
        }
    }
    if open.is_some() {
        return Err(RollError::Truncated);
    }
    Ok(sheets)
}

struct Worksheet<'l> {
    name: String,
    visibility: Visibility,
    grid: GridBuilder<'l>,
    merges: Vec<Merge>,
    row: u32,
    column: u32,
    across: u32,
    /// Type of the data and its text.
    data: Option<(String, String)>,
    in_data: bool,
    in_visible: bool,
    formula: Option<String>,
    aside: bool,
}

impl<'l> Worksheet<'l> {
    fn new(e: &BytesStart<'_>, limits: &'l RollLimits) -> Self {
        Self {
            name: attribute(e, "Name").unwrap_or_default(),
            visibility: Visibility::Visible,
            grid: GridBuilder::new(limits),
            merges: Vec::new(),
            row: 0,
            column: 0,
            across: 0,
            data: None,
            in_data: false,
            in_visible: false,
            formula: None,
            aside: false,
        }
    }

    fn start(&mut self, name: &str, e: &BytesStart<'_>) {
        let number = |name: &str| attribute(e, name).and_then(|n| n.trim().parse::<u32>().ok());
        match name {
            "Row" => {
                if let Some(index) = number("Index").filter(|index| *index > 0) {
                    self.row = index - 1;
                }
                self.column = 0;
                if attribute(e, "Hidden").as_deref() == Some("1") {
                    self.grid.flaw(self.row, 0, Flaw::HiddenRow);
                }
            }
            "Cell" => {
                if let Some(index) = number("Index").filter(|index| *index > 0) {
                    self.column = index - 1;
                }
                self.across = number("MergeAcross").unwrap_or(0).min(SPAN_MAX);
                self.formula = attribute(e, "Formula");
                self.data = None;
                if let Some(down) = number("MergeDown").filter(|down| *down > 0) {
                    self.merges.push(Merge {
                        top: self.row,
                        left: self.column,
                        bottom: self.row.saturating_add(down),
                        right: self.column.saturating_add(self.across),
                    });
                }
            }
            "Data" if !self.aside => {
                self.data = Some((attribute(e, "Type").unwrap_or_default(), String::new()));
                self.in_data = true;
            }
            "Comment" => self.aside = true,
            "Visible" => self.in_visible = true,
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        if self.in_visible {
            match text.trim() {
                "SheetHidden" => self.visibility = Visibility::Hidden,
                "SheetVeryHidden" => self.visibility = Visibility::VeryHidden,
                _ => {}
            }
        }
        if let (true, Some((_, data))) = (self.in_data, &mut self.data) {
            data.push_str(text);
        }
    }

    fn end(&mut self, name: &str, left: &mut Left) -> Result<(), RollError> {
        match name {
            "Row" => self.row = self.row.saturating_add(1),
            "Cell" => {
                self.put(left)?;
                self.column = self.column.saturating_add(1 + self.across);
            }
            "Data" => self.in_data = false,
            "Comment" => self.aside = false,
            "Visible" => self.in_visible = false,
            _ => {}
        }
        Ok(())
    }

    fn put(&mut self, left: &mut Left) -> Result<(), RollError> {
        let (row, column) = (self.row, self.column);
        let Some((kind, text)) = self.data.take() else {
            if self.formula.take().is_some() {
                self.grid.flaw(row, column, Flaw::NoValue);
            }
            return Ok(());
        };
        match kind.as_str() {
            "Number" => match text.trim().parse() {
                Ok(number) => self.grid.number(row, column, number, left),
                Err(_) => self.grid.text(row, column, &text, left),
            },
            "DateTime" => {
                let text = text.trim();
                let text = text.strip_suffix(".000").unwrap_or(text);
                let text = text.strip_suffix("T00:00:00").unwrap_or(text);
                self.grid.flaw(row, column, Flaw::Date(Shown::Whole));
                self.grid.cell(row, column, text, left)
            }
            "Boolean" => {
                let word = if text.trim() == "1" { "TRUE" } else { "FALSE" };
                self.grid.cell(row, column, word, left)
            }
            "Error" => {
                self.grid.flaw(row, column, Flaw::Error(text.trim().into()));
                Ok(())
            }
            _ => self.grid.text(row, column, &text, left),
        }
    }

    fn finish(mut self, date1904: bool, left: &mut Left) -> Result<Option<Sheet>, RollError> {
        self.grid.merged(std::mem::take(&mut self.merges), left);
        let (rows, flaws) = self.grid.finish()?;
        Ok((!rows.is_empty()).then_some(Sheet {
            name: Some(self.name),
            visibility: self.visibility,
            date1904,
            rows,
            flaws,
        }))
    }
}
