# Fixed addresses and name servers, by the hardware addresses of cards.
$ErrorActionPreference = 'Stop'
$want = [Console]::In.ReadToEnd() | ConvertFrom-Json
foreach ($nic in @($want.nics)) {
    # A virtual function has the address of the card that it works for; the card comes first.
    $cards = @(Get-NetAdapter -IncludeHidden:$false | Where-Object { $_.MacAddress -eq $nic.mac })
    $card = $cards | Sort-Object { $_.InterfaceDescription -notlike 'Microsoft Hyper-V Network Adapter*' } | Select-Object -First 1
    if (-not $card) { throw "there is no card with the address $($nic.mac)" }
    $index = $card.ifIndex
    if ($nic.address) {
        $there = @(Get-NetIPAddress -InterfaceIndex $index -AddressFamily IPv4 -ErrorAction SilentlyContinue)
        $routes = @(Get-NetRoute -InterfaceIndex $index -DestinationPrefix '0.0.0.0/0' -ErrorAction SilentlyContinue)
        $same = $there.Count -eq 1 -and $there[0].IPAddress -eq $nic.address -and
            $there[0].PrefixLength -eq $nic.prefix -and $there[0].PrefixOrigin -eq 'Manual' -and
            (($routes.Count -eq 0 -and -not $nic.gateway) -or ($routes.Count -eq 1 -and $routes[0].NextHop -eq $nic.gateway))
        if (-not $same) {
            Set-NetIPInterface -InterfaceIndex $index -AddressFamily IPv4 -Dhcp Disabled
            Get-NetRoute -InterfaceIndex $index -DestinationPrefix '0.0.0.0/0' -ErrorAction SilentlyContinue | Remove-NetRoute -Confirm:$false
            Get-NetIPAddress -InterfaceIndex $index -AddressFamily IPv4 -ErrorAction SilentlyContinue | Remove-NetIPAddress -Confirm:$false
            $address = @{ InterfaceIndex = $index; IPAddress = $nic.address; PrefixLength = $nic.prefix }
            if ($nic.gateway) { $address['DefaultGateway'] = $nic.gateway }
            New-NetIPAddress @address | Out-Null
        }
    }
    if (@($want.servers).Count -gt 0) {
        Set-DnsClientServerAddress -InterfaceIndex $index -ServerAddresses ([string[]]$want.servers)
    }
    if ($want.suffix) { Set-DnsClient -InterfaceIndex $index -ConnectionSpecificSuffix $want.suffix }
}
