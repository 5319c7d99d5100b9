package vocabulary

// Pace is how the attempts of a schedule are spread over its duration.
type Pace string

// The paces.
const (
	PaceConstant Pace = "constant"
	PacePoisson  Pace = "poisson"
	PaceRamp     Pace = "ramp"
	PaceBurst    Pace = "burst"
)

var paces = []Row[Pace]{
	{PaceConstant, "evenly spread"},
	{PacePoisson, "independent arrivals with exponential intervals, the same for every variant " +
		"of a block"},
	{PaceRamp, "evenly spread, at a rate that grows from load.from to load.rate"},
	{PaceBurst, "load.burst attempts at once, then a pause"},
}

// Connections is how attempts come by a connection.
type Connections string

// The ways to come by a connection.
const (
	// ConnectionsNew: every attempt opens one and asks the server to close it.
	ConnectionsNew Connections = "new"
	// ConnectionsReused: an attempt takes an idle connection if there is one, the most recently
	// used
	// first, and opens one otherwise. One that the server has closed meanwhile is not taken.
	ConnectionsReused Connections = "reused"
	ConnectionsMixed  Connections = "mixed"
)

var connections = []Row[Connections]{
	{ConnectionsNew, "one connection per attempt"},
	{ConnectionsReused, "an idle connection if there is one (keep-alive), a new one otherwise"},
	{ConnectionsMixed, "attempts take turns, one new, one reused"},
}

// Jitter is how a backoff is spread, so that clients which failed together do not come back
// together.
type Jitter string

// The jitters.
const (
	JitterNone Jitter = "none"
	// JitterFull is as gRPC (proposal A6) and AWS ("Exponential Backoff and Jitter") do.
	JitterFull Jitter = "full"
)

var jitters = []Row[Jitter]{
	{JitterNone, "every wait is as long as the backoff says"},
	{JitterFull, "evenly between nothing and that, so that clients which failed together do not " +
		"come " +
		"back together"},
}

// RetryCause is something after which a client may make another try.
type RetryCause string

// The causes.
const (
	RetrySafe           RetryCause = "safe"
	RetryRefused        RetryCause = "refused"
	RetryUnreachable    RetryCause = "unreachable"
	RetryConnectTimeout RetryCause = "connect-timeout"
	RetryUnsent         RetryCause = "unsent"
	RetryUnanswered     RetryCause = "unanswered"
	RetryNonIdempotent  RetryCause = "non-idempotent"
)

// A RetryCauseRow is the row of a cause of a retry.
type RetryCauseRow struct {
	Name RetryCause
	Doc  string
	// Failure: it is what a try met. Others stand for several, or extend one.
	Failure bool
}

var retryCauses = []RetryCauseRow{
	{Name: RetrySafe, Doc: "all that follow but non-idempotent"},
	{Name: RetryRefused, Failure: true, Doc: "the connection was refused"},
	{Name: RetryUnreachable, Failure: true, Doc: "there was no way to the address"},
	{Name: RetryConnectTimeout, Failure: true,
		Doc: "there was no connection within connect_timeout"},
	{Name: RetryUnsent, Failure: true,
		Doc: "the connection ended before any of the request was sent"},
	{Name: RetryUnanswered, Failure: true,
		Doc: "it ended when some of the request had been sent, and nothing was answered; of GET " +
			"only"},
	{Name: RetryNonIdempotent,
		Doc: "unanswered, of POST too: a server may then do twice what was asked for once"},
}

func (r RetryCauseRow) value() Value { return Value{string(r.Name), r.Doc} }

// SafeRetries returns what RetrySafe stands for: every failure. After any of them another try does
// no harm.
func SafeRetries() (all []RetryCause) {
	for _, r := range retryCauses {
		if r.Failure {
			all = append(all, r.Name)
		}
	}
	return all
}
