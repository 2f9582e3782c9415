//! The reference of conditions: types, and reasons with what to do about them.

use seedbed_crds::reasons::{Reason, condition};

use crate::Page;
use crate::markdown::{NOTICE, code, table};

/// The page.
pub fn page() -> Page {
    let types = condition::ALL
        .iter()
        .map(|type_| vec![code(type_.name), type_.kinds.join(", "), type_.meaning.to_owned()]);
    let reasons = Reason::ALL.iter().map(|reason| {
        vec![
            code(reason.as_str()),
            reason.meaning().to_owned(),
            reason.remedy().to_owned(),
        ]
    });
    let text = format!(
        "{NOTICE}# Conditions\n\n\
         Each condition has a status (`True`, `False`, or `Unknown` where it could not be found out), a reason from the list below, a\n\
         message that says what was found and what to do, and the generation of the spec that it speaks of. `lastTransitionTime` changes\n\
         with the status only. [troubleshooting.md](../troubleshooting.md) says how to look further.\n\n\
         ## Types\n\n\
         `Ready` is the summary; that of a ClusterUpgrade is `Succeeded`. `Progressing` is True while something is done or waited for; `Stalled` is True when nothing goes on until\n\
         a person changes something. At most one of the three is True.\n\n{}\n## Reasons\n\n{}",
        table(&["Type", "Kinds", "True means"], types),
        table(&["Reason", "Meaning", "What to do"], reasons)
    );
    Page {
        name: "conditions.md",
        text,
    }
}
