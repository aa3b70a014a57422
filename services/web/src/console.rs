//! What the consoles of sellers and operators share: who may do what, the frame, forms, charts.
//!
//! | file | holds |
//! |---|---|
//! | `shell.rs` | what stands around every page |
//! | `confirm.rs` | the password once more, before what is dangerous |
//! | `panel.rs` | a part of a page whose service may be away |
//! | `form.rs` | fields, and refusals in words |
//! | `upload.rs` | forms with a file |
//! | `chart.rs` | charts |
//! | `text.rs` | words |

pub mod upload;

use mallard_runtime::Context;
use tokio::sync::Semaphore;

/// Most files on their way at once.
const UPLOADS_MAX: usize = 8;

/// What the consoles ask and remember.
pub struct Console {
    /// Places for files on their way.
    pub uploads: Semaphore,
}

impl Console {
    /// Makes the clients.
    pub fn new(_ctx: &Context) -> Console {
        Console { uploads: Semaphore::new(UPLOADS_MAX) }
    }
}
