//! Two legs joined: what each packet becomes on the other side. Pure.
