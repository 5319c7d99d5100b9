package sys

// The user and group ids, one after the other, under which workers run that are to be of different
// users. They belong to nobody: they are beyond those of 16 bits, and before 100000, where ranges
// for containers begin (systemd's docs/UIDS-GIDS.md: 65536 to 524287 are unused; SUB_UID_MIN in
// login.defs(5)).
const (
	FirstOtherUser = 65600
	OtherUsers     = 1024
)
