package transfer

var (
	WeakSum   = weakSum
	WeakPower = weakPower
	Roll      = roll
)
