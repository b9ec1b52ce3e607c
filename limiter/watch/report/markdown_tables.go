package report

import "fmt"

// users writes how the known were served.
func (m *markdown) users(r *Report) {
	u := r.Users
	m.line("\n## Our users\n")
	m.line("Users the gate knows asked for %d logins meanwhile; %d were served, which is %s. We promise %s. %d were refused by the "+
		"gate by mistake, %d failed for a server. 95 %% were greeted within %.2f s.",
		u.Asked, u.Served, percent(u.Ratio), percent(u.Promised), u.Limited, u.Fault, u.Greeting)
}

// checks writes what postern did.
func (m *markdown) checks(r *Report) {
	c := r.Checks
	m.line("\n## What was done\n")
	m.line("Strangers were made to wait %d times and refused %d times. By mistake %d logins of strangers with the right password had "+
		"to wait, and %d of known users; %d of known users were refused.",
		c.Waited, c.Refused, c.WelcomeWaited, c.KnownWaited, c.KnownRefused)
	if len(c.Rules) == 0 {
		return
	}
	m.table("rule", "from", "to", "strangers waited", "refused", "longest", "right password, waited", "known waited", "known refused")
	for _, rule := range c.Rules {
		m.row(code(rule.Rule), stamp(rule.First), stamp(rule.Last), rule.StrangerWaited, rule.StrangerRefused,
			fmt.Sprintf("%.1f s", rule.Longest.Seconds()), rule.AcceptedWaited, rule.KnownWaited, rule.KnownRefused)
	}
	m.line("\nRules are counted by the hours that the incident touches.")
}

// sources writes where suspects came from and which accounts they tried.
func (m *markdown) sources(r *Report) {
	s := r.Sources
	m.line("\n## Where it came from\n")
	m.line("Strangers were denied %d times, from about %d networks, with about %d accounts.", s.Denials, s.DistinctNetworks, s.DistinctAccounts)
	if r.Form == Public {
		return
	}
	m.line("They had about %d addresses. The ten loudest networks had %s of all denials.", s.DistinctSources, percent(s.TopShare))
	if len(s.Systems) > 0 {
		m.table("AS", "name", "share of networks")
		for _, row := range s.Systems {
			m.row(fmt.Sprintf("AS%d", row.System), plain(row.Owner), fmt.Sprintf("about %.0f %%", 100*row.Share))
		}
	}
	m.targets("network", "accounts tried", s.Networks)
	m.targets("source", "accounts tried", s.Sources)
	m.line("\n## Whom it was after")
	m.targets("account", "from networks", s.Accounts)
}

// targets writes a table of the loudest.
func (m *markdown) targets(name, others string, rows []targetRow) {
	if len(rows) == 0 {
		m.line("\nNo %s stands out: none came twice.", name)
		return
	}
	m.table(name, "denials", others, "first", "last", "AS")
	for _, t := range rows {
		system := "–"
		if t.System != 0 {
			system = fmt.Sprintf("AS%d %s", t.System, plain(t.Owner))
		}
		m.row(code(t.Name), t.Denials, fmt.Sprintf("about %d", t.Others), stamp(t.First), stamp(t.Last), system)
	}
}

// resets writes which passwords to reset.
func (m *markdown) resets(r *Report) {
	m.line("\n## Passwords to reset\n")
	m.line("%d accounts were accepted from networks that attacked others, where they had not logged in before.", r.Resets.Count)
	if r.Resets.Missed > 0 {
		m.line("There were %d more such logins than are listed; the log has them.", r.Resets.Missed)
	}
	if r.Form == Public || len(r.Resets.Accounts) == 0 {
		return
	}
	m.table("account", "from", "network", "first")
	for _, a := range r.Resets.Accounts {
		m.row(code(a.Account), code(a.Source.String()), code(a.Network.String()), stamp(a.Time))
	}
}

// toDo writes what people must add.
func (m *markdown) toDo(r *Report) {
	m.line("\n## To be written by people\n")
	for _, what := range r.ToDo {
		m.line("- TODO: %s", what)
	}
}
