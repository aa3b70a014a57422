//! Colours and the palette that one main colour gives.

use std::fmt;

use super::hash;

/// Red, green, blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour(pub u8, pub u8, pub u8);

const WHITE: Colour = Colour(0xff, 0xff, 0xff);
const INK: Colour = Colour(0x25, 0x27, 0x36);
const PAPER: Colour = Colour(0xff, 0xfb, 0xf2);

/// Soft walls; the one that stands off the product best is taken.
const WALLS: [Colour; 9] = [
    Colour(0xf5, 0xe3, 0xcb),
    Colour(0xd6, 0xe7, 0xf1),
    Colour(0xd9, 0xec, 0xdf),
    Colour(0xf8, 0xdb, 0xd3),
    Colour(0xe5, 0xde, 0xf1),
    Colour(0xfa, 0xec, 0xbf),
    Colour(0xe6, 0xe1, 0xda),
    Colour(0xdc, 0xe6, 0xcf),
    Colour(0xcf, 0xe6, 0xe6),
];

/// Accents that a product without its own may take.
const ACCENTS: [Colour; 6] = [
    Colour(0xf2, 0xb5, 0x3c),
    Colour(0xe2, 0x6d, 0x5a),
    Colour(0x3f, 0x8f, 0x8b),
    Colour(0xfb, 0xf3, 0xe0),
    Colour(0x3b, 0x5b, 0x92),
    Colour(0xd9, 0x8c, 0x9f),
];

impl Colour {
    /// Parses `#rrggbb`.
    pub fn parse(text: &str) -> Option<Colour> {
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6 && digits.is_ascii())?;
        let part = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).ok();
        Some(Colour(part(0)?, part(2)?, part(4)?))
    }

    /// Mixes in another colour, by percent.
    fn mix(self, other: Colour, percent: u32) -> Colour {
        let part = |a: u8, b: u8| {
            let sum = u32::from(a) * (100 - percent) + u32::from(b) * percent;
            // A weighted mean of two bytes is a byte.
            (sum / 100) as u8
        };
        Colour(part(self.0, other.0), part(self.1, other.1), part(self.2, other.2))
    }

    fn distance(self, other: Colour) -> u32 {
        let part = |a: u8, b: u8| u32::from(a.abs_diff(b)).pow(2);
        2 * part(self.0, other.0) + 4 * part(self.1, other.1) + 3 * part(self.2, other.2)
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:02x}{:02x}{:02x}", self.0, self.1, self.2)
    }
}

/// The colours a fragment may name by one letter.
pub struct Palette {
    main: Colour,
    accent: Colour,
    wall: Colour,
}

impl Palette {
    /// Builds the palette around a main colour.
    pub fn new(main: Colour, accent: Option<Colour>, seed: &str) -> Palette {
        let seed = hash(seed);
        // Three walls and three accents by seed, of which the best contrast wins: varied, but never tone on tone.
        let pick = |from: &[Colour], against: Colour| {
            let three = (0..3).map(|i| from[((seed >> (8 * i)) as usize + i) % from.len()]);
            three.max_by_key(|colour| colour.distance(against)).unwrap_or(PAPER)
        };
        let wall = pick(&WALLS, main);
        Palette { main, accent: accent.unwrap_or_else(|| pick(&ACCENTS, main)), wall }
    }

    /// Returns the colour of a place in a fragment; ink for a letter nobody defined.
    pub fn get(&self, place: &str) -> Colour {
        match place {
            // The product: main, shade, deep shade, light, pale.
            "m" => self.main,
            "d" => self.main.mix(INK, 20),
            "D" => self.main.mix(INK, 45),
            "l" => self.main.mix(WHITE, 30),
            "L" => self.main.mix(WHITE, 72),
            // The accent and its shade.
            "a" => self.accent,
            "A" => self.accent.mix(INK, 22),
            // Materials: paper, wood, steel, leaf, brass, coffee, glass.
            "w" => PAPER,
            "W" => Colour(0xe9, 0xe2, 0xd3),
            "o" => Colour(0xd2, 0x9b, 0x63),
            "O" => Colour(0xad, 0x76, 0x44),
            "s" => Colour(0xc3, 0xca, 0xd1),
            "S" => Colour(0x8f, 0x99, 0xa4),
            "g" => Colour(0x5c, 0x9c, 0x66),
            "G" => Colour(0x3e, 0x75, 0x4c),
            "y" => Colour(0xe3, 0xb3, 0x4c),
            "Y" => Colour(0xb8, 0x86, 0x2d),
            "c" => Colour(0x6a, 0x43, 0x2b),
            "C" => Colour(0x4a, 0x2d, 0x1d),
            "i" => Colour(0xe2, 0xf1, 0xf5),
            "I" => Colour(0xb5, 0xd6, 0xe0),
            // The room: wall, bright wall, table, table edge, shadow, decoration.
            "1" => self.wall,
            "2" => self.wall.mix(WHITE, 55),
            "3" => self.wall.mix(INK, 10),
            "4" => self.wall.mix(INK, 18),
            "5" => self.wall.mix(INK, 32),
            "6" => self.wall.mix(self.accent, 35),
            _ => INK,
        }
    }
}
