package share

// The formats of batches that this version writes and reads.
const (
	FormatOldest uint8 = 1
	FormatNewest uint8 = 1
)
