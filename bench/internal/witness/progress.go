package witness

// A Request is one request on a connection, as its client knows it. It consists of the bytes Begin
// to End of the data that the client sent. Before is the number of bytes of earlier responses.
type Request struct {
	Begin, End uint64
	Before     uint64
}

// Progress is how much the server had done for a request when the connection ended.
type Progress uint8

// The kinds of progress, in order.
const (
	NotAccepted Progress = iota
	Unread               // accepted, but no byte of the request was read
	PartRead
	ReadWhole // no byte of the response was sent
	Answering // at least part of the response was sent
)

var progressNames = [...]string{
	"not accepted", "unread", "read in part", "read", "answered, at least in part",
}

func (p Progress) String() string { return progressNames[p] }

// Progress returns how much the server had done for a request, and false if this is not known.
func (e *SocketEnd) Progress(r Request) (Progress, bool) {
	switch {
	case e.Known.Has(KnowsAccepted) && !e.Accepted:
		return NotAccepted, true
	case !e.Known.Has(KnowsBytes | KnowsFIN):
		return 0, false
	case e.Sent > r.Before:
		return Answering, true
	case e.Read() >= r.End:
		return ReadWhole, true
	case e.Read() > r.Begin:
		return PartRead, true
	case !e.Known.Has(KnowsAccepted):
		return 0, false // the connection may have been reset in the accept queue
	}
	return Unread, true
}
