//! What a column of a sheet is read as.

use lianka_office_core::roll::said;
use lianka_sync_core::{
    kinds::{Field, Meaning, key},
    values::geo::Crs,
};
pub(crate) use said::of_meaning as field;

/// What a column is read as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnTarget {
    /// Running number; kept in the cells only.
    Serial,
    /// What an exported roll tells beside the card; kept in the cells only.
    Exported,
    /// Area that a grid lies in.
    Area,
    /// A field of the card.
    Field(&'static Field),
    /// A part of a contact person. Columns of one person share the group.
    Contact {
        /// Empty for the ordinary contact, else what tells the person apart: `2`, `负责人`.
        group: String,
        /// Which part.
        part: &'static Field,
    },
    /// Both coordinates, in the system that the heading names.
    Point(Option<Crs>),
    /// Longitude alone.
    Longitude(Option<Crs>),
    /// Latitude alone.
    Latitude(Option<Crs>),
    /// Sensitive personal data: read, reported, and not to be stored.
    Sensitive,
    /// `custom/<name>`
    Custom(String),
}

impl ColumnTarget {
    /// As the report of an import names it.
    pub fn name(&self) -> String {
        match self {
            Self::Serial => "serial".to_owned(),
            Self::Exported => "exported".to_owned(),
            Self::Area => "area".to_owned(),
            Self::Field(field) => field.name.to_owned(),
            Self::Contact { part, .. } => said::column(part),
            Self::Point(_) | Self::Longitude(_) | Self::Latitude(_) => {
                field(Meaning::Point).map_or_else(String::new, |field| field.name.to_owned())
            }
            Self::Sensitive => "sensitive".to_owned(),
            Self::Custom(name) => format!("{}/{name}", key::CUSTOM),
        }
    }
}
