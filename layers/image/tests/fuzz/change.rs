//! How inputs are changed, by numbers that look random and are the same each time.

/// xorshift64* (Vigna, 2016).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    /// A number below `limit`, which is not zero.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

/// Numbers at which arithmetic goes wrong.
const EDGES: [u64; 12] =
    [0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 1 << 32, 1 << 50, u64::MAX >> 1, u64::MAX];

/// A place where something lies: most of an image is zeros, which say nothing.
fn place(input: &[u8], random: &mut Random) -> usize {
    let start = random.below(input.len());
    match random.below(8) {
        0 => start,
        _ => input[start..].iter().position(|&byte| byte != 0).map_or(start, |more| {
            let found = start + more;
            found.saturating_sub(random.below(4))
        }),
    }
}

/// Changes an input in one to eight places.
pub fn change(input: &mut Vec<u8>, pool: &[Vec<u8>], random: &mut Random) {
    for _ in 0..1 + random.below(8) {
        if input.is_empty() {
            return;
        }
        let at = place(input, random);
        match random.below(10) {
            0 | 1 => input[at] ^= 1 << random.below(8),
            2 | 3 => input[at] = random.next() as u8,
            4 => input[at] = input[at].wrapping_add(if random.below(2) == 0 { 1 } else { 255 }),
            5 | 6 => {
                let number = EDGES[random.below(EDGES.len())];
                let bytes = if random.below(2) == 0 { number.to_le_bytes() } else { number.to_be_bytes() };
                let width = [1, 2, 4, 8][random.below(4)];
                let bytes = if random.below(2) == 0 { &bytes[..width] } else { &bytes[8 - width..] };
                let end = input.len().min(at + width);
                input[at..end].copy_from_slice(&bytes[..end - at]);
            }
            7 => {
                // A number taken from elsewhere in the same image: a place that means something.
                let from = place(input, random);
                let width = [2, 4, 8][random.below(3)].min(input.len() - at.max(from));
                input.copy_within(from..from + width, at);
            }
            8 => {
                let other = &pool[random.below(pool.len())];
                if !other.is_empty() {
                    let from = random.below(other.len());
                    let length = random.below(512).min(other.len() - from).min(input.len() - at);
                    input[at..at + length].copy_from_slice(&other[from..from + length]);
                }
            }
            _ => {
                if random.below(8) == 0 {
                    input.truncate(at);
                }
            }
        }
    }
}
