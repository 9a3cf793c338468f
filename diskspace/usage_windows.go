package diskspace

import (
	"path/filepath"

	"golang.org/x/sys/windows"
)

func stat(path string) (Usage, error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return Usage{}, err
	}
	// FILE_FLAG_BACKUP_SEMANTICS opens directories too.
	file, err := windows.CreateFile(name, 0,
		windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE|windows.FILE_SHARE_DELETE,
		nil, windows.OPEN_EXISTING, windows.FILE_FLAG_BACKUP_SEMANTICS, 0)
	if err != nil {
		return Usage{}, err
	}
	defer windows.CloseHandle(file)
	var info windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(file, &info); err != nil {
		return Usage{}, err
	}
	// GetDiskFreeSpaceEx takes directories only.
	if info.FileAttributes&windows.FILE_ATTRIBUTE_DIRECTORY == 0 {
		if name, err = windows.UTF16PtrFromString(filepath.Dir(path)); err != nil {
			return Usage{}, err
		}
	}
	u := Usage{Volume: uint64(info.VolumeSerialNumber)}
	if err := windows.GetDiskFreeSpaceEx(name, &u.Avail, &u.Total, &u.Free); err != nil {
		return Usage{}, err
	}
	return u, nil
}
