package proxy

// Stats is the state of a Server. The counters begin at the start of the process.
type Stats struct {
	Open           int    // connections, the two below included
	Tarpit         int    // attempts that wait
	Relay          int    // sessions logged in
	MaxConnections int    // that there may be, with so many logged in
	AcceptNoFile   uint64 // accepts that failed for want of descriptors
	AcceptOther    uint64 // accepts that failed for another reason
}

// Stats returns the state of s.
func (s *Server) Stats() Stats {
	s.init()
	s.mu.Lock()
	open := len(s.sessions)
	s.mu.Unlock()
	return Stats{
		Open: open, Tarpit: s.tarpit.size(), Relay: int(s.relaying.Load()), MaxConnections: s.connectionLimit(),
		AcceptNoFile: s.emfile.Load(), AcceptOther: s.otherFail.Load(),
	}
}
