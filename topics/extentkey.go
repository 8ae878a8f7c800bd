package topics

import "encoding/binary"

// ExtentKey is the record key of an extent: backup, file u32 and extent u64,
// big-endian.
func ExtentKey(backup []byte, file uint32, extent uint64) []byte {
	b := append(make([]byte, 0, len(backup)+12), backup...)
	b = binary.BigEndian.AppendUint32(b, file)
	return binary.BigEndian.AppendUint64(b, extent)
}
