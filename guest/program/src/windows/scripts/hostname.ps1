# The guest's name and the suffix of short names. Prints "restart" where a restart makes the name count.
$ErrorActionPreference = 'Stop'
$want = [Console]::In.ReadToEnd() | ConvertFrom-Json
if ($want.rename) {
    $key = 'HKLM:\SYSTEM\CurrentControlSet\Control\ComputerName\ComputerName'
    $next = (Get-ItemProperty -Path $key).ComputerName
    if ($next -ne $want.hostname) { Rename-Computer -NewName $want.hostname -Force -WarningAction SilentlyContinue }
    if ($env:COMPUTERNAME -ne $want.hostname) { 'restart' }
}
if ($want.suffix) { Set-DnsClientGlobalSetting -SuffixSearchList @($want.suffix) }
