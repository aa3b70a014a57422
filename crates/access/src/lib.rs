//! Who may do what: a Casbin model of roles, role hierarchy, domains, path patterns and rules that deny.
