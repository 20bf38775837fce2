package tokenstore

import "context"

// EndIdle does once what an issuer does every minute.
func EndIdle(ctx context.Context, i *Issuer) ([]Record, error) { return i.endIdle(ctx) }
