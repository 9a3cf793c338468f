package plain

// OnStep has f told of each step on the disk before it is done.
func (t *Target) OnStep(f func(step string)) { t.step = f }

var (
	FolderOf  = folderOf
	MachineOf = machineOf
)
