package broker

import "golang.org/x/sys/windows"

// diskSpace is the size of the volume that holds dir, and what of it is free to
// this process, in bytes.
func diskSpace(dir string) (total, usable int64, err error) {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return -1, -1, err
	}
	var free, all uint64
	if err := windows.GetDiskFreeSpaceEx(name, &free, &all, nil); err != nil {
		return -1, -1, err
	}
	return int64(all), int64(free), nil
}
