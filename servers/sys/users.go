package sys

// Workers of different users run under consecutive IDs, which are both user and group IDs. There
// are OtherUsers IDs, from FirstOtherUser on. Nothing else uses them: they are above the 16-bit IDs
// and below 100000, where container ranges start (systemd's docs/UIDS-GIDS.md: 65536 to 524287 are
// unused; SUB_UID_MIN in login.defs(5)).
const (
	FirstOtherUser = 65600
	OtherUsers     = 1024
)
