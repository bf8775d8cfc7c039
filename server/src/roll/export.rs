//! The merged roll as a file: what `GET …/cards` lists, one card a row, with headings that an import understands again.
//!
//! Numbers of contact persons are masked unless somebody asks for them who may, and so are identity and telephone numbers that were typed into
//! a note; identity numbers are masked in every free text. Sensitive fields (P3) are in no file. Cards are read in chunks as of one moment.

use std::ops::Range;

use lianka_sync_core::{
    id::StreetCode,
    kinds::{Kind, projection::CardRow},
    lang::Lang,
    values::{
        credit_code,
        phone::{self, Phone, PhoneKind},
        text,
    },
};
use sqlx::{PgConnection, PgPool};

use crate::{
    http::error::ApiError,
    roll::{
        store::{self as roll, CardFilter, CardOrder},
        store_export as store,
        table_file::{Cell, FileKind, TableFile},
    },
};

/// Cards in one file; more than any street has, fewer than a sheet takes.
pub const CARDS_MAX: i64 = 200_000;
/// Cards in memory at a time.
const CHUNK: usize = 500;

/// What to write.
#[derive(Clone, Debug)]
pub struct Options {
    pub kind: FileKind,
    pub filter: CardFilter,
    pub order: CardOrder,
    /// Whole telephone numbers.
    pub unmasked: bool,
    /// Language of the headings.
    pub lang: Lang,
}

/// A file and how many cards it holds.
pub struct Exported {
    pub file: TableFile,
    pub cards: usize,
}

/// Columns between the grid and the street's own, each a field of the catalogue.
const FIELDS: [&str; 22] = [
    "sign_name",
    "legal_name",
    "credit_code",
    "category",
    "road",
    "lane",
    "number",
    "number_suffix",
    "unit",
    "address_raw",
    "occupancy",
    "occupancy_observed_on",
    "opening_hours",
    "tags",
    "name",
    "phones",
    "role",
    "preferred_time",
    "note",
    "point_lat",
    "point_lon",
    "point_crs",
];

/// Writes the cards that the options admit.
pub async fn write(
    pool: &PgPool,
    street: &StreetCode,
    options: &Options,
) -> Result<Exported, ApiError> {
    let mut tx = store::snapshot(pool).await?;
    let custom = store::custom_fields(&mut tx, street).await?;
    let ids = store::ids(&mut tx, street, &options.filter, options.order, CARDS_MAX).await?;
    let mut file = TableFile::new(options.kind).map_err(ApiError::internal)?;
    let sheet = match options.lang {
        Lang::Zh => "联系卡",
        Lang::En => "Cards",
    };
    file.sheet(sheet, &headings(&custom, options.lang))
        .map_err(ApiError::internal)?;
    for chunk in ids.chunks(CHUNK) {
        for card in cards(&mut tx, street, options, chunk).await? {
            file.row(&row(&card, &custom, options.unmasked))
                .map_err(ApiError::internal)?;
        }
    }
    tx.rollback().await?;
    Ok(Exported {
        file,
        cards: ids.len(),
    })
}

async fn cards(
    conn: &mut PgConnection,
    street: &StreetCode,
    options: &Options,
    chunk: &[uuid::Uuid],
) -> sqlx::Result<Vec<CardRow>> {
    let filter = CardFilter {
        records: Some(chunk.to_vec()),
        ..CardFilter::default()
    };
    let (cards, _) =
        roll::page(conn, street, &filter, options.order, chunk.len() as i64, 0).await?;
    Ok(cards.into_iter().map(|card| card.row).collect())
}

fn headings(custom: &[(String, String)], lang: Lang) -> Vec<String> {
    let own = |zh: &'static str, en: &'static str| match lang {
        Lang::Zh => zh,
        Lang::En => en,
    };
    let of_field = |name: &str| match name {
        "point_lat" => own("纬度", "latitude"),
        "point_lon" => own("经度", "longitude"),
        "point_crs" => own("坐标系", "coordinate system"),
        _ => Kind::ShopCard
            .fields()
            .iter()
            .find(|field| field.name == name)
            .map_or("", |field| own(field.label_zh, field.label_en)),
    };
    let mut headings = vec![own("责任网格", "grid")];
    headings.extend(FIELDS.iter().map(|name| of_field(name)));
    headings.extend([
        own("最近确认日期", "last confirmed on"),
        own("冲突字段数", "fields in conflict"),
        own("已并入", "merged into"),
    ]);
    let mut headings: Vec<String> = headings.into_iter().map(str::to_owned).collect();
    headings.extend(custom.iter().map(|(_, label)| label.clone()));
    headings.push(own("卡片编号", "card id").to_owned());
    headings
}

fn row(card: &CardRow, custom: &[(String, String)], unmasked: bool) -> Vec<Cell> {
    // Anybody may have typed anything into a free text.
    let shown = |typed: &str| {
        if unmasked {
            typed.to_owned()
        } else {
            without_identity_numbers(typed)
        }
    };
    let text = |value: &Option<String>| Cell::from(value.as_deref().map(shown));
    // One person a line, in the same line of each of the columns.
    let people = |field: fn(&lianka_sync_core::kinds::projection::ContactRow) -> Option<String>| {
        let lines: Vec<String> = card
            .contacts
            .iter()
            .map(|contact| shown(&field(contact).unwrap_or_default()))
            .collect();
        let joined = lines.join("\n");
        if joined.trim().is_empty() {
            Cell::Empty
        } else {
            Cell::Text(joined)
        }
    };
    let phones = if unmasked {
        |contact: &lianka_sync_core::kinds::projection::ContactRow| contact.phones.clone()
    } else {
        |contact: &lianka_sync_core::kinds::projection::ContactRow| {
            contact.phones.as_deref().map(masked_phones)
        }
    };
    let note = card.note.as_ref().map(|note| {
        if unmasked {
            note.clone()
        } else {
            masked_text(note)
        }
    });
    let mut fields: Vec<&str> = card
        .conflicts
        .iter()
        .map(|conflict| conflict.field.as_str())
        .collect();
    fields.dedup();
    let mut cells = vec![
        Cell::Text(card.grid.clone()),
        text(&card.sign_name),
        text(&card.legal_name),
        Cell::from(card.credit_code.as_deref().map(|code| {
            if is_business_number(code) {
                code.to_owned()
            } else {
                shown(code)
            }
        })),
        text(&card.category),
        text(&card.road),
        text(&card.lane),
        text(&card.number),
        text(&card.number_suffix),
        text(&card.unit),
        text(&card.address_raw),
        text(&card.occupancy),
        text(&card.occupancy_observed_on),
        text(&card.opening_hours),
        if card.tags.is_empty() {
            Cell::Empty
        } else {
            Cell::Text(shown(&card.tags.join("、")))
        },
        people(|contact| contact.name.clone()),
        people(phones),
        people(|contact| contact.role.clone()),
        people(|contact| contact.preferred_time.clone()),
        Cell::from(note),
        Cell::from(card.point_lat),
        Cell::from(card.point_lon),
        text(&card.point_crs),
        text(&card.last_confirmed_on),
        Cell::Number(fields.len() as f64),
        Cell::from(card.merged_into.map(|into| into.to_string())),
    ];
    cells.extend(
        custom
            .iter()
            .map(|(name, _)| text(&card.custom.get(name).cloned())),
    );
    cells.push(Cell::Text(card.record.to_string()));
    cells
}

/// The numbers so that a colleague recognises one and nobody dials it: `139****0001`, `021-5093****`.
pub fn masked_phones(text: &str) -> String {
    phone::parse(text)
        .iter()
        .map(masked_phone)
        .collect::<Vec<_>>()
        .join("/")
}

fn masked_phone(phone: &Phone) -> String {
    let hidden = |text: &str, from: usize, to: usize| {
        text.chars()
            .enumerate()
            .map(|(at, c)| {
                if (from..to).contains(&at) && c.is_ascii_digit() {
                    '*'
                } else {
                    c
                }
            })
            .collect::<String>()
    };
    match &phone.kind {
        PhoneKind::Mobile => hidden(&phone.digits, 3, 7),
        // A brand's number, printed on its windows.
        PhoneKind::Service400 | PhoneKind::Short95 => phone.canonical(),
        PhoneKind::Landline { ext } => {
            let bare = Phone {
                kind: PhoneKind::Landline { ext: None },
                ..phone.clone()
            }
            .canonical();
            let length = bare.chars().count();
            let extension = ext.as_ref().map_or_else(String::new, |ext| {
                format!("转{}", "*".repeat(ext.chars().count()))
            });
            format!(
                "{}{extension}",
                hidden(&bare, length.saturating_sub(4), length)
            )
        }
        PhoneKind::Unrecognised => hidden(&text::half_width(&phone.raw), 2, usize::MAX),
    }
}

/// A credit code, or a registration number of before 2015: fifteen digits, as an old identity number.
fn is_business_number(typed: &str) -> bool {
    let code = credit_code::check(typed);
    code.verdict == credit_code::Verdict::Valid || code.normalised.len() == 15
}

/// A text without the identity and telephone numbers that were typed into it.
pub fn masked_text(typed: &str) -> String {
    let phones = text::warnings(typed).into_iter();
    let mut ranges = text::identity_shapes(typed);
    ranges.extend(phones.map(|warning| warning.chars));
    hidden(typed, &ranges)
}

fn without_identity_numbers(typed: &str) -> String {
    hidden(typed, &text::identity_shapes(typed))
}

fn hidden(typed: &str, ranges: &[Range<usize>]) -> String {
    let hidden = |at: usize| ranges.iter().any(|range| range.contains(&at));
    typed
        .chars()
        .enumerate()
        .map(|(at, c)| {
            if hidden(at) && c.is_alphanumeric() {
                '*'
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_masked() {
        for (typed, shown) in [
            ("13900000001", "139****0001"),
            (
                "139 0000 0001 / 021-50932417转803",
                "139****0001/021-5093****转***",
            ),
            ("50932417", "5093****"),
            ("400-800-1234", "4008001234"),
            ("问隔壁 1234567", "12*****"),
            ("无", ""),
        ] {
            assert_eq!(masked_phones(typed), shown, "{typed}");
        }
        assert_eq!(
            masked_text("老板13900000001，下午在"),
            "老板***********，下午在"
        );
        assert_eq!(masked_text("门口积水 378号"), "门口积水 378号");
        assert_eq!(
            masked_text("证号１１０１０５ 19491231-0021，电话13900000001"),
            "证号****** ********-****，电话***********"
        );
    }

    #[test]
    fn every_row_has_a_cell_for_every_heading() {
        let custom = [("fire".to_owned(), "消防".to_owned())];
        for lang in [Lang::Zh, Lang::En] {
            let headings = headings(&custom, lang);
            assert!(
                headings.iter().all(|heading| !heading.is_empty()),
                "{headings:?}"
            );
            assert_eq!(
                headings.len(),
                row(&CardRow::default(), &custom, false).len()
            );
        }
    }
}
